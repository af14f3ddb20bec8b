"""How often a contact is written to: what messages do to later ones, and the rule by which they wait."""
