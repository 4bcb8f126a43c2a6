"""The controller: commands done, versions judged, and all of it told once."""
