"""How much relevance rules lose on the way."""

from torch import Tensor

from methods.relevance import RuleSet, Tape


def conservation(tape: Tape, target: Tensor | None, rules: RuleSet) -> tuple[float, float]:
    """The relevance that operations lose or gain down to the first attention, and that which constants take.

    Per sample, of the 1 that is put on the logit.
    """
    entries = tape.audit(target, tape.attentions[:1], rules)
    losses = [(e.kind, e.received - e.handed_on) for e in entries]
    batch = len(tape.logits)
    lost = sum(abs(loss) for kind, loss in losses if kind != "shift") / batch
    return lost, sum(loss for kind, loss in losses if kind == "shift") / batch
