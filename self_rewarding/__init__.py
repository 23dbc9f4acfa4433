"""A model that rewards itself (Yuan et al. 2401.10020): its answers, the pairs that its scores make of them, and
how well it judges where people have ranked."""
