"""What hosts and people call: stores, answers, renders.

It never calls Prefect or an outside system while a host waits.
"""
