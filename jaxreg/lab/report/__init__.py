"""Reports of stored results, as one HTML page or as Markdown."""

from jaxreg.lab.report.compose import report

__all__ = ["report"]
