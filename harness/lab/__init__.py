"""Exact preference games: where does a method converge?

A game is a matrix of preferences among a few actions; a policy is one logit an action. Methods
play it with the objects and losses that train language models, and everything is known exactly.
"""
