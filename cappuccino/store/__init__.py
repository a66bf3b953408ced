"""DuckDB access (`warehouse`), the reader of sql/ (`schema`), models, their tests and examples."""
