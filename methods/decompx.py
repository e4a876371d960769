"""# DecompX

**Formula.** The tokens are carried through the whole network as sums of n vectors, v_kj the part of token k that came from
token j, which norms and activations do not mix. From v_kj = 1[k = j] x_k on,

- attention: v ← Σ_h Σ_i A_ki (W_V v_ij) W_O + v_kj, then share(W_O b_V + b_O);
- norms: (v − E_d v) / σ_k ⊙ γ, then share(β);
- feed-forward network: share(b₁, W₁ v) ⊙ f(u) / (u + 1e-12), share(b₂, W₂ ·), + v;
- what follows the last block (pooler, classifier) likewise, at the token that is read.

share(b, v)_kj = v_kj + b w_kj / (Σ_j w_kj + 1e-12) gives each part its share of a bias, w_kj = |⟨v_kj, b⟩|. The map is what
arrives at the logit of the explained class: class-specific, signed, and it sums to the logit, which is checked.

**Settings.** ``bias``: ``absdot``, as above; ``norm``, w = ‖v_kj‖₂; ``cosine``, w = |cos(v_kj, b)|; ``equal``; ``None``
drops biases. ``activation``: ``zero_origin``, as above, or ``tangent``, f'(u) with the intercept shared by |·| in each
dimension. ``feed_forward=False`` leaves the network out. ``readout``: ``logit``, or the norms of the vectors at the token that is
read, when they leave the ``last_block`` or the ``pooler`` (what follows the block but for the last layer): these do not
depend on the class and are nowhere negative.

**Models.** Blocks with LayerNorm before or after them and a plain feed-forward network; gated ones (Llama) are refused, and so
are models that pool several tokens.

**Cost and memory.** About n forward passes through the linear layers, and three tensors of n² d numbers for one sample at a
time: 0.8 GB each for n = 512, d = 768 in float32. In the last block only the row that is read is computed. With ``bias=None``
the map of logits is CP-LRP where tokens enter the first block, plus the share of that block's value bias; it is computed
so, in one forward and one backward pass without these tensors.

**Reference.** Modarressi, Fayyaz, Aghazadeh, Yaghoobzadeh & Pilehvar, "DecompX: Explaining Transformers Decisions by
Propagating Token Decomposition", ACL 2023 (arXiv 2306.02873). Code: mohsenfayyaz/DecompX, MIT licence.

**Paper and code.** In the first block the values are taken with their bias, and only b_O is shared, as in the code. The code
is for BERT and RoBERTa; pre-norm blocks follow the same rules here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes, blocks, for_each_class
from methods.relevance import CP_LRP, Forward, Inputs, RefusedError, Tape
from methods.vectors import MOST_NUMBERS, Normalisation, Sample, at, expect, mixed, samples, scattered
