-- Purpose: the alert metric provider_drift: how far the provider's bill is from what was recorded.
-- Locks: ACCESS EXCLUSIVE on alert_rules for the moment in which its few rows are checked.

alter table observability.alert_rules drop constraint "a metric is spend, error_rate or p99_latency_ms";

alter table observability.alert_rules add constraint "a metric is spend, error_rate, p99_latency_ms or provider_drift" check (
  metric in ('spend', 'error_rate', 'p99_latency_ms', 'provider_drift')
);

alter table observability.alert_rules add constraint "a provider's drift is measured over two days or more" check (
  metric <> 'provider_drift' or window_s >= 172800
);

alter table observability.alert_rules add constraint "a provider's drift is of a provider and environments" check (
  metric <> 'provider_drift' or scope - '{provider,environment}'::text[] = '{}'
);

comment on column observability.alert_rules.threshold is 'US dollars for spend, a fraction for error_rate and provider_drift, milliseconds for p99_latency_ms.';

comment on column observability.alert_rules.minimum_sample is 'Calls (for p99_latency_ms: calls with a latency, for provider_drift: days with a bill) needed before a breach counts.';

create function observability_internal.measure_provider_drift(
  scope jsonb, window_start timestamptz, window_end timestamptz
) returns table (value numeric, sample_count bigint)
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  with days as (
    select
      coalesce((observability_internal.filter_values(scope, 'provider'))[1], 'openai') as provider,
      (date_trunc('day', measure_provider_drift.window_start + interval '1 day' - interval '1 microsecond'))::date as from_day,
      date_trunc('day', measure_provider_drift.window_end)::date as to_day,
      observability_internal.filter_values(scope, 'environment') as environments
  )
  select abs(observability_internal.drift_fraction(sum(d.billed_cost), sum(d.recorded_cost))), count(*)
  from days as w
  cross join lateral observability_internal.reconcile_days(
    w.provider, w.from_day, w.to_day,
    observability_internal.recorded_usage(w.provider, w.from_day, w.to_day, w.environments)
  ) as d
  where d.billed_cost is not null;
$$;

comment on function observability_internal.measure_provider_drift(jsonb, timestamptz, timestamptz) is 'The drift without its sign, as a fraction of the bill, over the whole UTC days of the window that have a bill; null where none has.';

create or replace function observability_internal.measure_alert_metric(
  metric text, scope jsonb, window_s integer, as_of timestamptz
) returns table (window_start timestamptz, window_end timestamptz, value numeric, sample_count bigint)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_minute constant timestamptz := date_trunc('minute', measure_alert_metric.as_of);
  v_dims constant integer[] := observability_internal.resolve_dimensions(measure_alert_metric.scope);
  v_end timestamptz;
begin
  -- Two windows of the same length: the one that the running minute ends, and the last one of whole minutes. The
  -- first sees a breach within seconds; the second keeps it in sight when the next minute begins almost empty.
  foreach v_end in array array[v_minute + interval '1 minute', v_minute] loop
    window_start := v_end - make_interval(secs => measure_alert_metric.window_s);
    window_end := least(v_end, measure_alert_metric.as_of);
    if measure_alert_metric.metric = 'provider_drift' then
      select d.value, d.sample_count into value, sample_count
      from observability_internal.measure_provider_drift(measure_alert_metric.scope, window_start, window_end) as d;
    elsif measure_alert_metric.metric = 'p99_latency_ms' then
      select
        observability_internal.histogram_quantile(array_agg(pair.entry order by b.bin, pair.position), 0.99)::numeric,
        coalesce(sum(b.weight) filter (where pair.position = 1), 0)::bigint
      into value, sample_count
      from (
        select c.latency[2 * i - 1] as bin, sum(c.latency[2 * i]) as weight
        from observability_internal.alert_cells(v_dims, window_start, v_end) as c
        cross join lateral generate_series(1, cardinality(c.latency) / 2) as i
        group by c.latency[2 * i - 1]
      ) as b
      cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry);
    else
      select
        case measure_alert_metric.metric
          when 'error_rate' then
            coalesce(sum(c.requests) filter (where d.status = 'error'), 0) / nullif(sum(c.requests), 0)
          -- Where nothing was priced the spend is unknown, not zero.
          when 'spend' then
            case when sum(c.unpriced_requests) = sum(c.requests) then null else coalesce(sum(c.cost), 0) end
        end,
        coalesce(sum(c.requests), 0)
      into value, sample_count
      from observability_internal.alert_cells(v_dims, window_start, v_end) as c
      inner join observability_internal.dimensions as d on c.dim_id = d.dim_id;
    end if;
    return next;
    -- A bill has days, not minutes: the second window would hold the same ones.
    exit when measure_alert_metric.metric = 'provider_drift';
  end loop;
end;
$$;

grant execute on function observability_internal.measure_provider_drift(jsonb, timestamptz, timestamptz) to service_role;
