"""The RHSM front: what Katello is to subscription-manager, between hosts and Candlepin.

It has a listener of its own, because whoever shows a certificate of Candlepin's CA there is a host
and nothing else (contract: ``candlepin.md``, sections 3 and 4).
"""
