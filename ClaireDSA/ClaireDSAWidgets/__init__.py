"""Parts of the ClaireDSA panel. Only here and in the module files beside this folder may qt and ctk be used."""
