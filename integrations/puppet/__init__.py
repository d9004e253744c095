"""Speak with Puppet: hosts' certificates at its CA, and what its agents report.

Nothing here waits for a host: whoever calls decides when to look again.
"""

from __future__ import annotations

from integrations.puppet.ca import CertificateState, CertificateStatus, PuppetCa
from integrations.puppet.csr import BadRequest, CertificateRequest, read_request
from integrations.puppet.facts import BadFacts, PuppetFacts, read_facts
from integrations.puppet.names import CERTNAME, is_certname
from integrations.puppet.reports import (
    BadReport,
    Failure,
    Report,
    ReportName,
    Verdict,
    identify,
    read_report,
    verdict,
)
from integrations.puppet.settings import PuppetSettings
from integrations.puppet.store import ReportStore, Stored

__all__ = [
    "CERTNAME",
    "BadFacts",
    "BadReport",
    "BadRequest",
    "CertificateRequest",
    "CertificateState",
    "CertificateStatus",
    "Failure",
    "PuppetCa",
    "PuppetFacts",
    "PuppetSettings",
    "Report",
    "ReportName",
    "ReportStore",
    "Stored",
    "Verdict",
    "identify",
    "is_certname",
    "read_facts",
    "read_report",
    "read_request",
    "verdict",
]
