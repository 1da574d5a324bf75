//! Recipes, plans, assembly and the command line.
