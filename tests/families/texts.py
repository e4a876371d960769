"""Families of text classifiers."""

from tests.families.family import BLOCKS, HEADS, WIDTH, transformers

GPT = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}
DISTILBERT = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}
BART = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
}
T5 = {
    "hidden_size": "d_model",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": None,
}
BLOOM = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
BLOOM |= {"max_position_embeddings": None, "intermediate_size": None}
XLNET = {"hidden_size": "d_model", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
XLNET |= {"intermediate_size": "d_inner", "max_position_embeddings": None}
FEWER_KEYS = {"num_key_value_heads": 2}
EXPERTS = {"num_experts_per_tok": 2}

TEXTS = (
    transformers("BERT", "BertForSequenceClassification"),
    transformers("RoBERTa", "RobertaForSequenceClassification"),
    transformers("XLM-R", "XLMRobertaForSequenceClassification"),
    transformers("DistilBERT", "DistilBertForSequenceClassification", rename=DISTILBERT),
    transformers("ELECTRA", "ElectraForSequenceClassification", embedding_size=32),
    transformers("ALBERT (shared layers)", "AlbertForSequenceClassification", embedding_size=16),
    transformers(
        "DeBERTa-v2",
        "DebertaV2ForSequenceClassification",
        variants=("eager",),
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
    ),
    transformers("MPNet", "MPNetForSequenceClassification", variants=("eager",)),
    transformers("RoFormer (rotary positions)", "RoFormerForSequenceClassification", variants=("eager",)),
    transformers("ModernBERT", "ModernBertForSequenceClassification"),
    transformers(
        "Longformer (windows)", "LongformerForSequenceClassification", variants=("eager",), attention_window=4
    ),
    transformers(
        "BigBird (full attention)",
        "BigBirdForSequenceClassification",
        attention_type="original_full",
        variants=("eager",),
    ),
    transformers("XLNet", "XLNetForSequenceClassification", rename=XLNET, variants=("eager",)),
    transformers("FNet (no attention)", "FNetForSequenceClassification", variants=("eager",)),
    transformers("GPT-2 (causal, last token)", "GPT2ForSequenceClassification", rename=GPT),
    transformers("GPT-NeoX", "GPTNeoXForSequenceClassification"),
    transformers(
        "OPT",
        "OPTForSequenceClassification",
        rename={"intermediate_size": "ffn_dim"},
        word_embed_proj_dim=WIDTH,
    ),
    transformers("BLOOM (ALiBi)", "BloomForSequenceClassification", rename=BLOOM, variants=("eager",)),
    transformers(
        "Falcon", "FalconForSequenceClassification", rename={"intermediate_size": "ffn_hidden_size"}
    ),
    transformers("Llama", "LlamaForSequenceClassification", **FEWER_KEYS),
    transformers("Mistral", "MistralForSequenceClassification", sliding_window=4, **FEWER_KEYS),
    transformers(
        "Mixtral (experts)", "MixtralForSequenceClassification", num_local_experts=4, **EXPERTS, **FEWER_KEYS
    ),
    transformers("Qwen2", "Qwen2ForSequenceClassification", **FEWER_KEYS),
    transformers("Qwen3", "Qwen3ForSequenceClassification", head_dim=8, **FEWER_KEYS),
    transformers(
        "Qwen3-MoE (experts)",
        "Qwen3MoeForSequenceClassification",
        **{"num_experts": 4, "moe_intermediate_size": WIDTH, "head_dim": 8} | EXPERTS | FEWER_KEYS,
    ),
    transformers("Gemma", "GemmaForSequenceClassification", head_dim=8, **FEWER_KEYS),
    transformers(
        "Gemma 2 (soft caps)",
        "Gemma2ForSequenceClassification",
        variants=("eager",),
        **{"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4} | FEWER_KEYS,
    ),
    transformers("Phi", "PhiForSequenceClassification"),
    transformers("Phi-3", "Phi3ForSequenceClassification", **FEWER_KEYS),
    transformers(
        "gpt-oss (sinks, experts)",
        "GptOssForSequenceClassification",
        variants=("eager",),
        num_local_experts=4,
        head_dim=8,
        **EXPERTS,
        **FEWER_KEYS,
    ),
    transformers(
        "BART (encoder–decoder)",
        "BartForSequenceClassification",
        rename=BART,
        **{"decoder_layers": BLOCKS, "decoder_attention_heads": HEADS, "decoder_ffn_dim": 2 * WIDTH},
    ),
    transformers(
        "T5 (encoder–decoder)",
        "T5ForSequenceClassification",
        rename=T5,
        variants=("eager",),
        d_kv=8,
        decoder_start_token_id=0,
    ),
)
