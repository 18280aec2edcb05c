-- What alert rules measure: the metrics' names and, for those that are sums of calls or requests, what they are made of.
-- Locks: none; it only creates.

-- An amount is a sum, a share a fraction from 0 to 1, a quantile of durations is read from histograms; a change is another
-- metric as a multiple of what it was a week before, a burn a share as a multiple of what an objective allows; a figure
-- has a function of its own and keeps no history. As ingest/alerts/metrics.py: a test compares them.
create function observability_internal.metric_kinds() returns jsonb
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select '{
    "spend": "amount", "tokens": "amount", "requests": "amount", "route_requests": "amount",
    "error_rate": "share", "route_error_rate": "share", "unpriced_share": "share", "estimated_share": "share",
    "p50_latency_ms": "quantile", "p90_latency_ms": "quantile", "p99_latency_ms": "quantile",
    "p50_time_to_first_token_ms": "quantile", "p90_time_to_first_token_ms": "quantile",
    "p99_time_to_first_token_ms": "quantile",
    "p50_route_latency_ms": "quantile", "p90_route_latency_ms": "quantile", "p99_route_latency_ms": "quantile",
    "p50_route_time_to_first_byte_ms": "quantile", "p90_route_time_to_first_byte_ms": "quantile",
    "p99_route_time_to_first_byte_ms": "quantile",
    "provider_drift": "figure", "pipeline_lag_s": "figure", "undelivered_messages": "figure",
    "budget_used": "figure", "budget_forecast": "figure",
    "anomaly_tokens": "figure", "anomaly_requests": "figure", "anomaly_requests_below": "figure",
    "anomaly_errors": "figure", "anomaly_latency_ms": "figure",
    "anomaly": "figure", "new_saving": "figure",
    "spend_vs_last_week": "change", "tokens_vs_last_week": "change", "requests_vs_last_week": "change",
    "error_rate_vs_last_week": "change", "p50_latency_ms_vs_last_week": "change",
    "p90_latency_ms_vs_last_week": "change", "p99_latency_ms_vs_last_week": "change",
    "route_requests_vs_last_week": "change",
    "error_burn_rate": "burn", "latency_burn_rate": "burn",
    "route_error_burn_rate": "burn", "route_latency_burn_rate": "burn"
  }'::jsonb;
$$;

comment on function observability_internal.metric_kinds is 'The metrics of alert rules: {name: amount, share, quantile, change, burn or figure}.';
revoke execute on function observability_internal.metric_kinds from public;
grant execute on function observability_internal.metric_kinds to authenticated, service_role;

create type observability_internal.metric_sums as (
  requests numeric,
  failed_requests numeric,
  unpriced_requests numeric,
  estimated_requests numeric,
  tokens numeric,
  cost numeric
);

comment on type observability_internal.metric_sums is 'What metrics are made of: sums over calls, or over HTTP requests.';

create function observability_internal.metric_parts(
  metric text, sums observability_internal.metric_sums, out amount numeric, out base numeric
)
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select
    case metric
      -- The fallback price counts here: better an alert too many than none.
      when 'spend' then (sums).cost
      when 'tokens' then (sums).tokens
      when 'requests' then (sums).requests
      when 'route_requests' then (sums).requests
      when 'error_rate' then (sums).failed_requests
      when 'route_error_rate' then (sums).failed_requests
      when 'unpriced_share' then (sums).unpriced_requests
      when 'estimated_share' then (sums).estimated_requests
    end,
    -- Where nothing was priced, spend is unknown and not zero.
    case metric when 'spend' then (sums).requests - (sums).unpriced_requests else (sums).requests end;
$$;

comment on function observability_internal.metric_parts is
'The amount of a metric and its base: a share is their quotient, an amount without a base is unknown where there are calls.'
' Both add up over calls.';
revoke execute on function observability_internal.metric_parts from public;
grant execute on function observability_internal.metric_parts to authenticated, service_role;
