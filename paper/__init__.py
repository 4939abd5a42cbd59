"""The article's numbers and tables, generated from result files; the text itself is LaTeX."""
