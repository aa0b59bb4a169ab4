"""From bytes to typed cells; one file per form."""
