"""Compares the rollups of cost with the raw rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

# Every level's rows (hours where they are condensed) by what the raw rows say they should hold;
# the rows that differ in either direction.
_DIFFERENCES = """
with raw as (
  select
    date_trunc('minute', m.created_at, 'UTC') as minute, d.dim_id, u.user_key,
    case when m.cost_source = 'fallback' then 0 else coalesce(m.estimated_cost, 0) end as cost,
    case when m.cost_source = 'fallback' then m.estimated_cost else 0 end as fallback_cost,
    case when m.cost_source = 'provider' then m.estimated_cost else 0 end as provider_reported_cost,
    (m.cost_source = 'unpriced')::integer as unpriced_requests,
    (m.cost_source = 'fallback')::integer as fallback_requests
  from observability_internal.ai_usage_metrics as m
  join observability_internal.dimensions as d
    on (m.provider, m.model, coalesce(m.feature, ''), m.environment, m.operation, m.status, coalesce(m.error_type, ''))
    = (d.provider, d.model, d.feature, d.environment, d.operation, d.status, d.error_type)
  join observability_internal.attributions as a
    on (coalesce(m.tenant_id, ''), coalesce(m.tags, '{}')) = (a.tenant_id, a.tags)
  join observability_internal.users as u on (m.user_id, a.attribution_id) = (u.user_id, u.attribution_id)
),
expected as (
  select 'minute' as level, minute as bucket, 0 as user_key, dim_id, raw.* from raw
  union all
  select 'hour', date_trunc('hour', minute, 'UTC'), 0, dim_id, raw.* from raw
  where not exists (
    select from observability_internal.stale_rollups as s
    where s.level = 'hour' and s.bucket = date_trunc('hour', minute, 'UTC')
  )
  union all
  select 'user', date_bin('15 minutes', minute, '2000-01-01 00:00:00+00'), user_key, dim_id, raw.* from raw
),
sums as (
  select
    e.level, e.bucket, e.user_key, e.dim_id, count(*) as requests, sum(e.cost) as cost,
    sum(e.fallback_cost) as fallback_cost, sum(e.provider_reported_cost) as provider_reported_cost,
    sum(e.unpriced_requests) as unpriced_requests, sum(e.fallback_requests) as fallback_requests
  from expected as e (level, bucket, user_key, dim_id, minute, own_dim_id, own_user_key)
  group by e.level, e.bucket, e.user_key, e.dim_id
),
minutes as (
  select bucket, dim_id, requests, cost, fallback_cost, provider_reported_cost, unpriced_requests, fallback_requests
  from observability_internal.usage_by_minute
  union all
  select bucket, dim_id, requests, cost, fallback_cost, provider_reported_cost, unpriced_requests, fallback_requests
  from observability_internal.unpacked_minutes
),
found as (
  select
    'minute' as level, bucket, 0 as user_key, dim_id, requests, cost, coalesce(fallback_cost, 0),
    coalesce(provider_reported_cost, 0), coalesce(unpriced_requests, 0), coalesce(fallback_requests, 0)
  from minutes
  union all
  select
    'hour', bucket, 0, dim_id, requests, cost, coalesce(fallback_cost, 0), coalesce(provider_reported_cost, 0),
    coalesce(unpriced_requests, 0), coalesce(fallback_requests, 0)
  from observability_internal.usage_by_hour
  where not exists (
    select from observability_internal.stale_rollups as s where s.level = 'hour' and s.bucket = usage_by_hour.bucket
  )
  union all
  select
    'user', bucket, user_key, dim_id, requests, cost, coalesce(fallback_cost, 0), coalesce(provider_reported_cost, 0),
    coalesce(unpriced_requests, 0), coalesce(fallback_requests, 0)
  from observability_internal.usage_by_user
)
(select * from sums except select * from found) union all (select * from found except select * from sums)
"""


def differences(database: TestDatabase) -> list[tuple[object, ...]]:
    """Rows of a level that the raw rows do not add up to, and those they should add up to; none when all is well.

    Of the hours those that are condensed.
    """
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(_DIFFERENCES).fetchall()
