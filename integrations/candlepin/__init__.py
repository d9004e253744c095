"""Speak with Candlepin: organizations, environments, activation keys, consumers, content, jobs.

The facts are in the contract ``candlepin.md``; what is asked of Candlepin is what its own OpenAPI
document describes, which a test checks.
"""

from __future__ import annotations

from integrations.candlepin.client import MODE, Candlepin
from integrations.candlepin.passing import Passed
from integrations.candlepin.records import (
    ActivationKey,
    Consumer,
    Content,
    Deleted,
    Environment,
    Job,
    JobState,
    NewConsumer,
    Owner,
    Status,
)
from integrations.candlepin.settings import CandlepinSettings, OAuthLogin, UserLogin

__all__ = [
    "MODE",
    "ActivationKey",
    "Candlepin",
    "CandlepinSettings",
    "Consumer",
    "Content",
    "Deleted",
    "Environment",
    "Job",
    "JobState",
    "NewConsumer",
    "OAuthLogin",
    "Owner",
    "Passed",
    "Status",
    "UserLogin",
]
