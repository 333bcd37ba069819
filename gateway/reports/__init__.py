"""Reports for people: self-contained HTML pages, without scripts and without anything from elsewhere."""
