"""Ways of drawing what a demonstration shows: in a terminal, as a file, as a page."""
