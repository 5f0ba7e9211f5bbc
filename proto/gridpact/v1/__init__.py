"""Version 1 of the Gridpact API, generated from the ``.proto`` files beside this one; see CONTRIBUTING.md."""
