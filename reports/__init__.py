"""Reports: figures and one self-contained HTML page out of run records."""
