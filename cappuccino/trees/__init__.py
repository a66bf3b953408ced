"""Gradient-boosted trees: a second family of candidates, on the same features, folds, engine, rules and costs.

features of a bar and what changed in them  ->  trees  ->  expected return  ->  action in [-1, 1]  ->  Wish
"""
