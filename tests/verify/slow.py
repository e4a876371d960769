"""A ViT and a BERT written out by hand from their weights, and maps of them by plain autograd.

Nothing here knows the methods or the engine: it is what the goldens of the tests are made with.
"""

import torch
import torch.nn.functional as F


def _block(w, prefix, x, heads, eps, keep):
    def norm(name, t):
        return F.layer_norm(t, t.shape[-1:], w[f"{prefix}{name}.weight"], w[f"{prefix}{name}.bias"], eps)

    n, width = x.shape
    qkv = norm("norm1", x) @ w[f"{prefix}attn.qkv.weight"].T + w[f"{prefix}attn.qkv.bias"]
    q, k, v = qkv.view(n, 3, heads, width // heads).permute(1, 2, 0, 3)
    attention = (q @ k.transpose(1, 2) / (width // heads) ** 0.5).softmax(dim=-1)
    keep.append(attention)
    mixed = (attention @ v).transpose(0, 1).reshape(n, width)
    x = x + mixed @ w[f"{prefix}attn.proj.weight"].T + w[f"{prefix}attn.proj.bias"]
    hidden = F.gelu(norm("norm2", x) @ w[f"{prefix}mlp.fc1.weight"].T + w[f"{prefix}mlp.fc1.bias"])
    return x + hidden @ w[f"{prefix}mlp.fc2.weight"].T + w[f"{prefix}mlp.fc2.bias"]


def vit(weights, image, heads, patch, depth, eps=1e-6):
    """Logits (classes,) of one image (3, height, width), the attentions of the blocks and the tokens that enter."""
    w = {name: t.double() for name, t in weights.items()}
    patches = F.conv2d(image[None], w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=patch)
    tokens = torch.cat([w["cls_token"][0], patches[0].flatten(1).T]) + w["pos_embed"][0]
    x, attentions = tokens, []
    for block in range(depth):
        x = _block(w, f"blocks.{block}.", x, heads, eps, attentions)
    x = F.layer_norm(x, x.shape[-1:], w["norm.weight"], w["norm.bias"], 1e-6)
    return x[0] @ w["head.weight"].T + w["head.bias"], attentions, tokens


def vit_goldens(weights, images, classes, **shape):
    """Arrays by the names that the verification reads, of images (samples, 3, height, width) in float64.

    Args:
        classes: K of ``.classK``.
    """
    rows = [_of_image(weights, image, classes, **shape) for image in images]
    return {key: torch.stack([row[key] for row in rows]).detach().numpy() for key in rows[0]}


def _of_image(weights, image, classes, **shape):
    image = image.clone().requires_grad_()
    logits, attentions, tokens = vit(weights, image, **shape)
    means = [a.mean(dim=0) for a in attentions]
    size = len(means[0])
    found = {"logits": logits, "raw_attention": means[-1][0, 1:]}
    for start in range(len(means)):
        rolled = torch.eye(size, dtype=torch.float64)
        for mean in means[start:]:
            added = mean + torch.eye(size)
            rolled = (added / added.sum(dim=1, keepdim=True)) @ rolled
        found[f"rollout.start{start}"] = rolled[0, 1:]
    explained = {"predicted": int(logits.argmax())} | {f"class{k}": k for k in classes}
    for name, k in explained.items():
        gradients = torch.autograd.grad(logits[k], [image, tokens, *attentions], retain_graph=True)
        pixels = gradients[0].sum(dim=0)
        found[f"gradient.pixels.{name}"] = pixels
        found[f"gradient.patch_sums.{name}"] = torch.stack(
            [each.sum() for row in pixels.split(shape["patch"]) for each in row.split(shape["patch"], dim=1)]
        )
        found[f"input_x_gradient.tokens.{name}"] = (tokens * gradients[1]).sum(dim=1)[1:]
        relevance = torch.eye(size, dtype=torch.float64)
        for attention, gradient in zip(attentions, gradients[2:], strict=True):
            relevance = relevance + (attention * gradient).clamp(min=0).mean(dim=0) @ relevance
        found[f"gae.{name}"] = relevance[0, 1:]
    return found


def bert_goldens(model, ids, lengths, mask_id, classes):
    """Leave-one-out by the mask token, the norm of the gradient, and logits, text by text without padding."""
    width = int(max(lengths))
    found = {"logits": []} | {
        f"{key}.class{k}": [] for key in ("leave_one_out.mask.logit", "gradient_norm.l2") for k in classes
    }
    for row, length in zip(ids, lengths, strict=True):
        own = row[None, :length]
        words = model.get_input_embeddings()(own).detach().requires_grad_()
        logits = model(inputs_embeds=words).logits[0]
        found["logits"].append(logits.detach())
        for k in classes:
            (gradient,) = torch.autograd.grad(logits[k], words, retain_graph=True)
            found[f"gradient_norm.l2.class{k}"].append(_padded(gradient[0].norm(dim=1), width))
            losses = []
            for at in range(length):
                without = own.clone()
                without[0, at] = mask_id
                losses.append((logits[k] - model(without).logits[0, k]).detach())
            found[f"leave_one_out.mask.logit.class{k}"].append(_padded(torch.stack(losses), width))
    return {key: torch.stack(rows).numpy() for key, rows in found.items()}


def _padded(values, width):
    return F.pad(values, (0, width - len(values)), value=float("nan"))
