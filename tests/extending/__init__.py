"""Each kind of extension, as the page Extending shows it: one file and one YAML outside the repository."""
