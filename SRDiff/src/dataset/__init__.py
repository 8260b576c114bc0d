"""Images: how they are prepared, found, cut into patches and brought into the networks' range."""
