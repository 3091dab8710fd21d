"""Folder layouts, one file each; `recognise` tells which one a folder has."""
