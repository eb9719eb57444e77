"""The other sides of the stages of `mpota.pipe`: what makes the bytes that a board decodes."""
