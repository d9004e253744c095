"""What machines are told in their own languages: kickstarts and boot configurations.

Templates are given the checked values of ``models``, never rows of the inventory; ``for_build`` is
the one place that makes the first out of the second.
"""
