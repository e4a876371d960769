"""All families that are checked, each as an unmodified model with random weights."""

from tests.families.images import IMAGES
from tests.families.texts import TEXTS

FAMILIES = (*IMAGES, *TEXTS)
