"""From pages to a built site."""
