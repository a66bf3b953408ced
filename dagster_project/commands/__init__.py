"""The commands that need Dagster. They import it late, so that help is instant."""
