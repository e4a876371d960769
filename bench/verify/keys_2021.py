"""Keys of the six methods of 2021, of images and of texts (``golden/README.md``)."""

from bench.verify.grammar import Entry


def _entry(pattern: str, method: str, view: str = "tokens", **settings) -> Entry:
    return Entry(pattern, method, settings, view, reference_2021=True)


def keys(is_vision: bool) -> list[Entry]:
    """The forms of the keys; text maps of GradCAM scale the whole matrix, those of images the row that is read."""
    return [
        _entry("transformer_attribution.start{start_layer:int}", "TransformerAttribution"),
        _entry(
            "transformer_attribution_without_gradient.start{start_layer:int}",
            "TransformerAttribution",
            use_gradient=False,
        ),
        # Rolling up one block adds the identity to its map, which only the class token's own entry sees.
        _entry("ablation.last_block", "TransformerAttribution", start_layer=-1),
        _entry("ablation.second_block", "TransformerAttribution", start_layer=1, stop_layer=2),
        _entry("partial_lrp", "PartialLRP"),
        _entry("lrp", "LRP", "pixels" if is_vision else "tokens"),
        _entry("gradcam", "GradCAM", "scaled_row", weights="row" if is_vision else "matrix"),
        _entry("raw_attention", "RawAttention"),
        _entry("rollout.start{start_layer:int}", "Rollout"),
        Entry("logits", "[the model]", view="logits"),
        Entry(
            "debug.{_what:attention|attention_gradient|attention_relevance}.block{_block:int}",
            "[the engine]",
            view="debug",
            informative=True,
        ),
    ]
