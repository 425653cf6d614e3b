"""One evaluation, from what was asked to the record."""
