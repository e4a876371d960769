"""Models that write into tensors: gradients are autograd's own, relevance is that of the sums written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods.relevance import OLDER, PROPOSED, NoRuleError, RefusedError, Tape
from tests.support.small_models import TOKENS, WIDTH, Model

torch.set_num_threads(1)
ROWS = torch.arange(4)


def into(write):
    """What ``write(w, y)`` makes of zeros, added to the tokens."""

    def op(m, x):
        y, w = m.branch(x), torch.zeros_like(x)
        write(w, y)
        return x + w

    return op


def setitem(w, y):
    w[:, :] = y


def slices(w, y):
    w[:, :2] = y[:, :2]
    w[:, 2:] = y[:, 2:]


def rows_by_index(w, y):
    w[:, [0, 2]] = y[:, [0, 2]]
    w[:, [1, 3]] = y[:, [1, 3]]


def mask(w, y):
    chosen = torch.arange(4) < 2
    w[:, chosen] = y[:, chosen]
    w[:, ~chosen] = y[:, ~chosen]


def through_a_view(w, y):
    view = w[:, :]
    view.add_(y)


def through_rows(w, y):
    for i in range(4):
        w[:, i].copy_(y[:, i])


def through_parts(w, y):
    first, second = w.chunk(2, dim=1)
    first += y[:, :2]
    second += y[:, 2:]


def twice(w, y):
    w.index_add_(1, ROWS[:2], y[:, :2])
    w.index_add_(1, ROWS[2:], y[:, 2:])


def out_of_a_call(w, y):
    torch.mul(y, 1.0, out=w)


def masked_scatter(w, y):
    w.masked_scatter_(torch.ones_like(w, dtype=torch.bool), y)


INTO_ZEROS = {
    "setitem": setitem,
    "slices": slices,
    "rows by index": rows_by_index,
    "mask": mask,
    "through a view": through_a_view,
    "through rows": through_rows,
    "through parts": through_parts,
    "twice": twice,
    "out=": out_of_a_call,
    "masked_scatter_": masked_scatter,
    "copy_": lambda w, y: w.copy_(y),
    "add_": lambda w, y: w.add_(y),
    "sub_": lambda w, y: w.sub_(-y),
    "index_add_": lambda w, y: w.index_add_(1, ROWS, y),
    "index_copy_": lambda w, y: w.index_copy_(1, ROWS, y),
    "scatter_": lambda w, y: w.scatter_(1, ROWS[None, :, None].expand_as(y), y),
    "scatter_add_": lambda w, y: w.scatter_add_(1, ROWS[None, :, None].expand_as(y), y),
    "index_put_": lambda w, y: w.index_put_((torch.arange(2)[:, None], ROWS[None]), y),
    "index_put_, accumulated": lambda w, y: w.index_put_((torch.arange(2)[:, None], ROWS[None]), y, True),
}


def autograd_of(op, tokens=TOKENS):
    """The gradient of the greatest logits in the model as it is, with respect to its input and attention."""
    model = Model(op).double().requires_grad_(False)
    tokens = tokens.double().requires_grad_()
    return torch.autograd.grad(model(tokens.clone()).amax(dim=1).sum(), tokens)[0]


def recorded(op, tokens=TOKENS):
    return Tape.record(Model(op).double(), tokens, dtype="float64")


def check_gradient(op, same=None):
    """Against autograd on the model as it is; on the ``same`` written out where torch itself refuses that."""
    tape = recorded(op)
    torch.testing.assert_close(tape.gradient(None, [tape.entry])[0], autograd_of(same or op))


def relevance(op, rules=PROPOSED):
    tape = recorded(op)
    return tape.relevance(None, [tape.entry], rules)[0]


@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
@pytest.mark.parametrize("write", INTO_ZEROS.values(), ids=INTO_ZEROS)
def test_what_is_written_into_zeros_goes_on(write, rules):
    check_gradient(into(write), same=lambda m, x: x + m.branch(x))
    plain = relevance(lambda m, x: x + m.branch(x), rules)
    torch.testing.assert_close(relevance(into(write), rules), plain, rtol=1e-5, atol=1e-7)


def kept_name(m, x):
    old = x
    x += m.branch(x)
    return x + 2 * old


def kept_view(m, x):
    first = x[:, :1]
    x += m.branch(x)
    return x * first


def written_view(m, x):
    first = x[:, :1]
    first += m.branch(x)[:, :1]
    return x


def written_part(m, x):
    first, second = m.branch(x).chunk(2, dim=1)
    first += x[:, :2]
    return torch.cat([first, second], dim=1) + x


def written_after_use(m, x):
    y = m.branch(x)
    z = F.gelu(y)
    y *= 2
    return x + z + y


def written_input(m, x):
    x[:, 1] = x[:, 2]
    return x + m.branch(x)


def reused(m, x):
    w = torch.zeros_like(x)
    w += m.branch(x)
    y = F.silu(w)
    w.zero_()
    w += F.gelu(x)
    return y + w


ALIASED = {
    "a name that is kept": (kept_name, lambda m, x: (x + m.branch(x)) + 2 * (x + m.branch(x))),
    "a view that is kept": (
        kept_view,
        lambda m, x: (x + m.branch(x)) * (x + m.branch(x))[:, :1],
    ),
    "a view that is written into": (
        written_view,
        lambda m, x: torch.cat([x[:, :1] + m.branch(x)[:, :1], x[:, 1:]], dim=1),
    ),
    "one of several views": (
        written_part,
        lambda m, x: torch.cat([m.branch(x)[:, :2] + x[:, :2], m.branch(x)[:, 2:]], dim=1) + x,
    ),
    "what a call was given": (written_after_use, lambda m, x: x + F.gelu(m.branch(x)) + m.branch(x) * 2),
    "what a layer returned": (
        written_input,
        lambda m, x: (
            torch.cat([x[:, :1], x[:, 2:3], x[:, 2:]], 1)
            + m.branch(torch.cat([x[:, :1], x[:, 2:3], x[:, 2:]], 1))
        ),
    ),
    "a buffer that is used again": (reused, lambda m, x: F.silu(m.branch(x)) + F.gelu(x)),
}


@pytest.mark.parametrize(("writes", "plain"), ALIASED.values(), ids=ALIASED)
def test_what_shares_memory_sees_what_is_written(writes, plain):
    """Logits and gradient are those of the model itself; so is relevance where sums are the same."""
    with torch.no_grad():
        expected = Model(writes).double()(TOKENS.double())
    torch.testing.assert_close(recorded(writes).logits, expected)
    torch.testing.assert_close(recorded(plain).logits, expected)
    check_gradient(writes, same=plain)


@pytest.mark.parametrize(
    "name", ["a view that is written into", "one of several views", "what a call was given"]
)
def test_relevance_is_that_of_the_same_written_out(name):
    writes, plain = ALIASED[name]
    ours, expected = relevance(writes), relevance(plain)
    if name == "a view that is written into":  # there the sum of a row is a sum of its own
        assert ours.sum((1, 2)) == pytest.approx(expected.sum((1, 2)))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("function", [F.relu, F.silu, F.hardswish, F.mish])
def test_activations_in_place(function):
    def by_keyword(m, x):
        return x + function(m.branch(x), inplace=True)

    def by_position(m, x):
        return x + function(m.branch(x), True)

    expected = relevance(lambda m, x: x + function(m.branch(x)))
    for op in (by_keyword, by_position, lambda m, x: x + torch.Tensor.relu_(m.branch(x))):
        check_gradient(op)
        if "relu_" not in op.__code__.co_names or function is F.relu:
            torch.testing.assert_close(relevance(op), expected)


def test_rows_that_meet_in_one_row_have_no_rule():
    def collide(w, y):
        w.index_add_(1, torch.zeros(4, dtype=torch.long), y)

    check_gradient(into(collide))
    with pytest.raises(NoRuleError, match=r"index_add of several rows to one \(called by Model\)"):
        relevance(into(collide))


def test_a_constant_takes_its_share_when_it_is_added_to():
    constant = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(4)).double()

    def write(m, x):
        w = constant.clone().expand(2, -1, -1).clone()
        w += m.branch(x)
        return w

    check_gradient(write)
    torch.testing.assert_close(relevance(write), relevance(lambda m, x: m.branch(x) + constant))


def prepared(fill):
    """Tokens in prepared memory, in which constants stand beside them."""

    def op(m, x):
        w = x.new_empty(2, 6, WIDTH)
        fill(w, m.branch(x))
        return w.mean(dim=1, keepdim=True)

    return op


def constants_first(w, y):
    w[:, :2] = 0.3
    w[:, 2:] = y


def constants_last(w, y):
    w[:, 2:] = y
    w[:, :2].fill_(0.3)


def constants_in_views(w, y):
    first, rest = w.split([2, 4], dim=1)
    first.copy_(torch.full_like(first, 0.3))
    rest.copy_(y)


def constants_by_index(w, y):
    w[:, 2:] = y
    w.index_fill_(1, ROWS[:2], 0.3)


def constants_by_mask(w, y):
    w[:, :2] = 1.0
    w[:, 2:] = y
    w.masked_fill_((torch.arange(6) < 2)[:, None], 0.3)


@pytest.mark.parametrize(
    "fill", [constants_first, constants_last, constants_in_views, constants_by_index, constants_by_mask]
)
@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
def test_constants_beside_tokens_take_their_share(fill, rules):
    """As a class token does that is written in front of the patches: the total tells of it."""

    def joined(m, x):
        constant = torch.full((2, 2, WIDTH), 0.3, dtype=x.dtype)
        return torch.cat([constant, m.branch(x)], dim=1).mean(dim=1, keepdim=True)

    tape, expected = recorded(prepared(fill)), recorded(joined)
    torch.testing.assert_close(tape.logits, expected.logits)
    ours, theirs = tape.totals(None, rules), expected.totals(None, rules)
    assert theirs["beside"] != 0
    assert ours == pytest.approx(theirs)
    torch.testing.assert_close(*(t.relevance(None, [t.entry], rules)[0] for t in (tape, expected)))


FILLED = {
    "masked_fill": lambda y: y.masked_fill(ROWS[:, None] == 1, 0.3),
    "masked_fill by a tensor": lambda y: y.masked_fill(ROWS[:, None] == 1, torch.tensor(0.3).to(y)),
    "index_fill": lambda y: y.index_fill(1, ROWS[1:2], 0.3),
    "where": lambda y: torch.where(ROWS[:, None] == 1, 0.3, y),
    "slice_scatter": lambda y: y.slice_scatter(torch.full_like(y[:, 1:2], 0.3).detach(), 1, 1, 2),
    "select_scatter": lambda y: y.select_scatter(torch.full_like(y[:, 1], 0.3).detach(), 1, 1),
    "index_copy": lambda y: y.index_copy(1, ROWS[1:2], torch.full_like(y[:, 1:2], 0.3).detach()),
}


@pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED)
def test_what_is_filled_in_takes_its_share(fill):
    tape = recorded(lambda m, x: fill(m.branch(x)).mean(dim=1, keepdim=True))
    totals = tape.totals(None, PROPOSED)
    assert abs(totals["beside"]) > 1e-3
    assert sum(totals.values()) == pytest.approx(1, abs=1e-6)


def test_views_that_are_no_movement_are_written_into_in_mixed_precision():
    def strided(m, x):
        w = torch.zeros_like(x)
        w.as_strided(w.shape, w.stride()).copy_(m.branch(x))
        return x + w

    def diagonal(m, x):
        w = torch.zeros(2, WIDTH, WIDTH).to(x)
        torch.diagonal(w, dim1=1, dim2=2).copy_(m.branch(x)[:, 0])
        return x + x @ w

    for op in (strided, diagonal):
        expected = Model(op).double()(TOKENS.double())
        torch.testing.assert_close(
            Tape.record(Model(op), TOKENS, dtype="mixed").logits.double(), expected, rtol=1e-5, atol=1e-5
        )


class Cache(nn.Module):
    """Keeps what it computed in a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.inner = Model(lambda m, x: x)
        self.inner.op = self.cached
        self.register_buffer("cache", torch.zeros(2, 4, WIDTH))

    def cached(self, m, x):
        self.cache.zero_()
        self.cache.add_(m.branch(x))
        return x + self.cache

    def forward(self, x):
        return self.inner(x)


def test_a_buffer_that_is_written_into_keeps_no_tape_and_serves_again():
    model = Cache().eval()
    expected = Model(lambda m, x: x + m.branch(x))
    for _ in range(2):
        tape = Tape.record(model, TOKENS, dtype="float64")
        assert not model.cache.requires_grad
        wanted = Tape.record(expected, TOKENS, dtype="float64")
        torch.testing.assert_close(tape.gradient(None, [tape.entry]), wanted.gradient(None, [wanted.entry]))


def test_attention_that_is_written_into_after_its_use_is_refused():
    def overwritten(m, x):
        attention = (x @ x.mT).softmax(dim=-1)
        y = attention @ x
        attention.zero_()
        return y

    with pytest.raises(RefusedError, match="writes into attention probabilities"):
        recorded(overwritten)


def test_attention_that_is_scaled_in_place_is_changed_before_its_use():
    def gated(m, x):
        attention = (x[:, None] @ x[:, None].mT).softmax(dim=-1)
        attention *= 0.5
        return (attention @ x[:, None])[:, 0]

    with pytest.raises(RefusedError, match="changed between its softmax and the values"):
        recorded(gated)


def test_the_inputs_of_a_user_are_not_written_into():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Model()

        def forward(self, x):
            x.sub_(0.5).div_(2)
            return self.model(x)

    tokens = TOKENS.clone()
    tape = Tape.record(Normalised().eval(), tokens, dtype="float64")
    assert torch.equal(tokens, TOKENS)
    torch.testing.assert_close(tape.logits, Model().double()((TOKENS.double() - 0.5) / 2))
