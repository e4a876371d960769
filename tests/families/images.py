"""Families of image classifiers."""

from tests.families.family import BLOCKS, HEADS, PATCH, WIDTH, own, timm, transformers
from tests.families.modules import Attention, Encoder, OpenAIClip, torchvision_vit

VIT = "vit_base_patch16_224"
# The arguments that models of a fixed size do not take.
FIXED = dict.fromkeys(("img_size", "patch_size", "embed_dim", "depth", "num_heads"))
CLIP_VISION = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS}
CLIP_VISION |= {"intermediate_size": 2 * WIDTH, "image_size": 32, "patch_size": PATCH}
IN_A_PART = dict.fromkeys(
    (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "image_size",
        "patch_size",
    )
)

IMAGES = (
    timm("ViT", VIT),
    timm("DeiT", "deit_tiny_patch16_224"),
    timm("DeiT, distilled (two prefix tokens, two heads)", "deit_tiny_distilled_patch16_224"),
    timm("DeiT-3 (LayerScale)", "deit3_small_patch16_224"),
    timm("CLIP's image tower", "vit_base_patch16_clip_quickgelu_224"),
    timm("ViT with registers (DINOv2)", "vit_small_patch14_reg4_dinov2"),
    timm("rotary positions and registers (DINOv3)", "vit_small_patch16_dinov3"),
    timm("SwiGLU MLP (DINOv2 giant)", "vit_giant_patch14_dinov2"),
    timm("QK-norm", VIT, qk_norm=True),
    timm("parallel blocks", "vit_small_patch16_18x2_224"),
    timm("FlexiViT", "flexivit_small"),
    timm("rotary positions (EVA-02)", "eva02_tiny_patch14_224"),
    timm("rotary positions (ViT)", "vit_base_patch16_rope_224"),
    timm("perception encoder", "vit_pe_core_base_patch16_224"),
    timm("relative position bias (BEiT)", "beit_base_patch16_224"),
    timm("average-pooled head, no class token", VIT, global_pool="avg", class_token=False),
    timm("average-pooled head beside a class token", VIT, global_pool="avg"),
    timm("attention-pooled head (SigLIP)", "vit_base_patch16_siglip_224"),
    timm("hybrid patch embedding (ResNet)", "vit_tiny_r_s16_p8_224", (64, 64), patch_size=None),
    timm("another patch size", VIT, patch_size=4),
    timm("another image size than built for", VIT, (48, 48), img_size=32, dynamic_img_size=True),
    timm("grid that is not square", VIT, (32, 48)),
    timm("NaFlexViT", "naflexvit_base_patch16_gap", img_size=None),
    timm("class attention with talking heads (CaiT)", "cait_xxs24_224"),
    timm("gated positional attention (ConViT)", "convit_tiny", embed_dim=WIDTH // HEADS),
    timm(
        "two streams of patches (CrossViT)",
        "crossvit_9_240",
        (60, 60),
        **{"patch_size": (12, 14), "embed_dim": (16, WIDTH), "depth": ((1, 1, 0),), "num_heads": (2, 2)},
    ),
    timm("pixels within patches (TNT)", "tnt_s_patch16_224", num_heads=None, num_heads_outer=HEADS),
    timm(
        "windowed attention (Swin)",
        "swin_tiny_patch4_window7_224",
        **{"window_size": 4, "embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2)},
        **{"depth": None, "patch_size": None},
    ),
    timm("windowed attention with relative positions (SAM)", "samvit_base_patch16", window_size=2),
    timm("hierarchical attention, fewer keys than queries (PVT v2)", "pvt_v2_b0", (64, 64), **FIXED),
    timm("linear attention (EfficientViT)", "efficientvit_b0", (64, 64), **FIXED),
    timm("cross-covariance attention (XCiT)", "xcit_nano_12_p16_224", patch_size=None),
    transformers("ViT of transformers", "ViTForImageClassification", "image"),
    transformers("DeiT of transformers", "DeiTForImageClassification", "image"),
    transformers("ViT-MSN", "ViTMSNForImageClassification", "image"),
    transformers(
        "BEiT of transformers", "BeitForImageClassification", "image", use_relative_position_bias=True
    ),
    transformers("DINOv2", "Dinov2ForImageClassification", "image", rename={"intermediate_size": None}),
    transformers(
        "DINOv2 with registers of transformers",
        "Dinov2WithRegistersForImageClassification",
        "image",
        rename={"intermediate_size": None},
    ),
    transformers("I-JEPA", "IJepaForImageClassification", "image"),
    transformers(
        "SigLIP of transformers",
        "SiglipForImageClassification",
        "image",
        IN_A_PART,
        vision_config=CLIP_VISION,
    ),
    transformers(
        "CLIP of transformers", "CLIPForImageClassification", "image", IN_A_PART, vision_config=CLIP_VISION
    ),
    own("torch's TransformerEncoder", "torch nn.TransformerEncoder, batch first", lambda: Encoder(True)),
    own("tokens before the batch", "torch nn.TransformerEncoder", lambda: Encoder(False)),
    own("tokens before the batch, norms first", "torch nn.TransformerEncoder", lambda: Encoder(False, True)),
    own("torch's MultiheadAttention", "torch nn.MultiheadAttention", Attention),
    own("OpenAI's CLIP (tokens before the batch)", "torch nn.MultiheadAttention", lambda: OpenAIClip(False)),
    own("OpenAI's CLIP, cosines as logits", "torch nn.MultiheadAttention", lambda: OpenAIClip(True)),
    own("torchvision's ViT", "torchvision VisionTransformer", torchvision_vit),
)
