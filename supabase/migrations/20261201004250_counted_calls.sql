-- What each call adds to the sums: the one place where they are computed from an event.
-- Locks: none; it only creates.

-- As in the rollups, null is 0 for the rarer ones. The latencies are histogram entries of one call.
create view observability_internal.counted_calls with (security_invoker = true) as
select
  m.event_id, m.batch_id, m.created_at, m.metadata,
  date_bin('15 minutes', m.created_at, '2000-01-01 00:00:00+00') as quarter, d.dim_id, u.user_key,
  1 as requests, m.prompt_tokens, m.completion_tokens, nullif(m.cached_tokens, 0) as cached_tokens,
  nullif(m.cache_write_tokens, 0) as cache_write_tokens, nullif(m.reasoning_tokens, 0) as reasoning_tokens,
  nullif(m.audio_input_tokens, 0) as audio_input_tokens, nullif(m.audio_output_tokens, 0) as audio_output_tokens,
  case when m.cost_source = 'fallback' then 0 else coalesce(m.estimated_cost, 0) end as cost,
  case when m.cost_source = 'fallback' then coalesce(m.estimated_cost, 0) end as fallback_cost,
  case when m.cost_source = 'provider' then coalesce(m.estimated_cost, 0) end as provider_reported_cost,
  case when m.cost_source = 'unpriced' then 1 end as unpriced_requests,
  case when m.cost_source = 'fallback' then 1 end as fallback_requests,
  case when m.usage_source <> 'reported' then 1 end as estimated_requests,
  ((ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::bigint + 400) << 44) + 1024 as latency,
  ((ceil(ln(case when m.time_to_first_token_ms < 0.001 then 0.001 else m.time_to_first_token_ms end)
    / 0.020000666706669435)::bigint + 400) << 44) + 1024 as time_to_first_token
from observability_internal.ai_usage_metrics as m
inner join observability_internal.dimensions as d
  on m.provider = d.provider and m.model = d.model and coalesce(m.feature, '') = d.feature
  and m.environment = d.environment and m.operation = d.operation and m.status = d.status
  and coalesce(m.error_type, '') = d.error_type
inner join observability_internal.attributions as a
  on coalesce(m.tenant_id, '') = a.tenant_id and coalesce(m.tags, '{}') = a.tags
inner join observability_internal.users as u on m.user_id = u.user_id and a.attribution_id = u.attribution_id;

comment on view observability_internal.counted_calls is
'Calls with their dimensions, the key of their user with tenant and tags, and what each adds to the sums of the rollups.';

grant select on observability_internal.counted_calls to authenticated, service_role;
