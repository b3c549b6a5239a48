"""Labelled texts of other people's collections, against any configured classifier."""
