"""What a sweep needs, said before anything of it runs."""
