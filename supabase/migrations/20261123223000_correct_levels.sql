-- Purpose: what was written for rollups of every level, over the finest level and what is condensed from it: repricing, the
-- cells of alerts and reports, cost by day and by dimension.
-- Locks: none beyond those of the functions before.

create or replace function observability_internal.correct_costs(run_id bigint, changes jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_min timestamptz;
  v_max timestamptz;
  v_result jsonb;
  v_differences observability_internal.usage_difference[];
begin
  select min(c.created_at), max(c.created_at) into v_min, v_max
  from jsonb_to_recordset(changes) as c (created_at timestamptz);
  with wanted as materialized (
    select c.*
    from jsonb_to_recordset(changes) as c (
      event_id uuid, created_at timestamptz, old_cost numeric, new_cost numeric, old_cost_source text,
      new_cost_source text, old_price_id text, new_price_id text
    )
  ),
  -- A row that has changed since it was read is left for another run, as is one that is not counted yet.
  corrected as (
    update observability.ai_usage_metrics as m
    set estimated_cost = w.new_cost, cost_source = w.new_cost_source, price_id = w.new_price_id
    from wanted as w
    where m.event_id = w.event_id and m.created_at = w.created_at and m.created_at between v_min and v_max
      and m.estimated_cost is not distinct from w.old_cost and m.cost_source = w.old_cost_source
      and m.price_id is not distinct from w.old_price_id
      and not exists (select from observability_internal.pending_batches as p where p.batch_id = m.batch_id)
    returning
      m.event_id, m.created_at, m.user_id, m.provider, m.model, coalesce(m.feature, '') as feature, m.environment,
      m.operation, m.status, coalesce(m.error_type, '') as error_type, w.old_cost, w.new_cost, w.old_cost_source,
      w.new_cost_source, w.old_price_id, w.new_price_id
  ),
  audited as (
    insert into observability_internal.cost_corrections (
      event_id, run_id, created_at, old_cost, new_cost, old_cost_source, new_cost_source, old_price_id, new_price_id
    )
    select
      c.event_id, correct_costs.run_id, c.created_at, c.old_cost, c.new_cost, c.old_cost_source, c.new_cost_source,
      c.old_price_id, c.new_price_id
    from corrected as c
    on conflict on constraint cost_corrections_pkey do update set
      new_cost = excluded.new_cost, new_cost_source = excluded.new_cost_source, new_price_id = excluded.new_price_id
  ),
  differences as materialized (
    select
      date_trunc('minute', c.created_at) as created_at, d.dim_id, u.user_key,
      coalesce(c.new_cost, 0) - coalesce(c.old_cost, 0) as cost,
      case when c.new_cost_source = 'fallback' then c.new_cost else 0 end
      - case when c.old_cost_source = 'fallback' then c.old_cost else 0 end as fallback_cost,
      case when c.new_cost_source = 'provider' then c.new_cost else 0 end
      - case when c.old_cost_source = 'provider' then c.old_cost else 0 end as provider_reported_cost,
      (c.new_cost_source = 'unpriced')::integer - (c.old_cost_source = 'unpriced')::integer as unpriced_requests,
      (c.new_cost_source = 'fallback')::integer - (c.old_cost_source = 'fallback')::integer as fallback_requests
    from corrected as c
    left join observability_internal.dimensions as d
      using (provider, model, feature, environment, operation, status, error_type)
    left join observability_internal.users as u using (user_id)
  )
  select
    jsonb_build_object(
      'corrected', (select count(*) from corrected),
      'old_cost', (select coalesce(sum(c.old_cost), 0)::text from corrected as c),
      'new_cost', (select coalesce(sum(c.new_cost), 0)::text from corrected as c)
    ),
    array(
      select row(
        s.created_at, s.dim_id, s.user_key, null, null, null, null, null, null, null, null, sum(s.cost),
        sum(s.fallback_cost), sum(s.provider_reported_cost), sum(s.unpriced_requests), sum(s.fallback_requests), null
      )::observability_internal.usage_difference
      from differences as s
      group by s.created_at, s.dim_id, s.user_key
    )
  into v_result, v_differences;
  perform observability_internal.add_usage_difference(v_differences);
  return v_result || observability_internal.explain_left_out(
    changes, (v_result ->> 'corrected')::integer, v_min, v_max
  );
end;
$$;

comment on function observability_internal.correct_costs(bigint, jsonb) is 'Corrects raw rows, writes the audit and moves the rollups by the difference. Its caller holds the roll-up''s lock.';

-- Days and hours where they are whole and condensed, minutes elsewhere; no column is null.
create or replace function observability_internal.alert_cells(
  dims integer[], window_start timestamptz, window_end timestamptz
) returns setof observability_internal.usage_by_minute
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_split constant observability_internal.range_split := observability_internal.split_range(
    alert_cells.window_start, alert_cells.window_end, '{}',
    case
      when alert_cells.window_end - alert_cells.window_start < interval '1 hour' then 'minute'
      when alert_cells.window_end - alert_cells.window_start < interval '1 day' then 'hour'
      else 'day'
    end
  );
begin
  return query
  with cells as (
    select r.* from observability_internal.usage_by_day as r where r.bucket = any (v_split.days)
    union all
    select r.* from observability_internal.usage_by_hour as r where r.bucket = any (v_split.hours)
    union all
    select r.* from observability_internal.usage_by_minute as r where r.bucket = any (v_split.minutes)
  )
  select
    c.bucket, c.dim_id, c.requests, c.prompt_tokens, c.completion_tokens, coalesce(c.cached_tokens, 0),
    coalesce(c.cache_write_tokens, 0), coalesce(c.reasoning_tokens, 0), coalesce(c.audio_input_tokens, 0),
    coalesce(c.audio_output_tokens, 0), c.cost, coalesce(c.fallback_cost, 0), coalesce(c.provider_reported_cost, 0),
    coalesce(c.unpriced_requests, 0), coalesce(c.fallback_requests, 0), coalesce(c.estimated_requests, 0), c.latency,
    c.time_to_first_token
  from cells as c
  where dims is null or c.dim_id = any (dims);
end;
$$;

-- The metrics as they were, over packed histograms.
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
        observability_internal.histogram_quantile(array_agg(e.entry), 0.99)::numeric,
        observability_internal.histogram_weight(array_agg(e.entry))::bigint
      into value, sample_count
      from (
        select unnest(c.latency) as entry
        from observability_internal.alert_cells(v_dims, window_start, v_end) as c
      ) as e;
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

create or replace function observability.get_daily_cost(
  user_id text default null, from_time timestamptz default null, to_time timestamptz default null,
  timezone text default 'UTC'
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_user_id constant text := coalesce(get_daily_cost.user_id, auth.jwt() ->> 'sub');
  v_zone constant text := coalesce(get_daily_cost.timezone, 'UTC');
  v_to timestamptz := get_daily_cost.to_time;
  v_from timestamptz := get_daily_cost.from_time;
  v_scope observability_internal.read_scope;
begin
  if v_user_id is null then
    raise exception 'user_id is needed' using errcode = '22023';
  end if;
  perform observability_internal.check_filters(
    now() - interval '1 day', now(), jsonb_build_object('timezone', v_zone)
  );
  v_to := coalesce(v_to, (date_trunc('day', now() at time zone v_zone) + interval '1 day') at time zone v_zone);
  v_from := coalesce(v_from, (date_trunc('day', v_to at time zone v_zone) - interval '30 days') at time zone v_zone);
  v_scope := observability_internal.make_scope(
    v_from, v_to, jsonb_build_object('user_id', v_user_id, 'timezone', v_zone, 'bucket', 'day')
  );
  return (
    with by_day as (
      select
        c.bucket_start, sum(c.requests) as requests, sum(c.prompt_tokens) as prompt_tokens,
        sum(c.completion_tokens) as completion_tokens, sum(c.cost) as cost, sum(c.fallback_cost) as fallback_cost,
        sum(c.unpriced_requests) as unpriced_requests
      from observability_internal.usage_cells(v_scope, v_scope.from_time, v_scope.to_time, true) as c
      group by c.bucket_start
    )
    select jsonb_build_object(
      'user_id', v_user_id, 'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'timezone', v_zone,
      'requests', coalesce(sum(d.requests), 0),
      'cost', case when sum(d.requests) > sum(d.unpriced_requests) then sum(d.cost)::text end,
      'unpriced_requests', coalesce(sum(d.unpriced_requests), 0),
      'days', coalesce(jsonb_agg(jsonb_build_object(
        'day', (d.bucket_start at time zone v_zone)::date, 'requests', d.requests, 'prompt_tokens', d.prompt_tokens,
        'completion_tokens', d.completion_tokens, 'total_tokens', d.prompt_tokens + d.completion_tokens,
        'cost', case when d.requests > d.unpriced_requests then d.cost::text end,
        'fallback_cost', d.fallback_cost::text, 'unpriced_requests', d.unpriced_requests
      ) order by d.bucket_start), '[]')
    )
    from by_day as d
  );
end;
$$;

create or replace function observability.get_cost_breakdown(
  from_time timestamptz, to_time timestamptz, group_by text default 'model', filters jsonb default '{}'
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope observability_internal.read_scope;
  v_sums observability_internal.usage_sum[];
begin
  v_scope := observability_internal.make_scope(
    get_cost_breakdown.from_time, get_cost_breakdown.to_time,
    get_cost_breakdown.filters || jsonb_build_object('group_by', coalesce(get_cost_breakdown.group_by, 'model'))
  );
  -- Users are counted in quarters of an hour: then everything is, so that the rows add up to the total.
  if v_scope.group_by = 'user_id' then
    v_scope.from_time := date_bin('15 minutes', v_scope.from_time, '2000-01-01 00:00:00+00');
    v_scope.to_time := date_bin('15 minutes', v_scope.to_time + interval '15 minutes' - interval '1 microsecond', '2000-01-01 00:00:00+00');
    v_scope.previous_from := v_scope.from_time - (v_scope.to_time - v_scope.from_time);
  end if;
  v_sums := (observability_internal.read_usage(v_scope, null)).sums;
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
    'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'timezone', v_scope.timezone,
    'group_by', v_scope.group_by,
    'totals', observability_internal.totals_document(
      v_sums, true, observability_internal.latency_totals(v_scope, v_scope.from_time, v_scope.to_time)
    ),
    'rows', case v_scope.group_by
      when 'user_id' then observability_internal.user_figures(v_scope) -> 'rows'
      else coalesce(
        observability_internal.usage_breakdown(v_sums, array[v_scope.group_by], v_scope.row_limit) -> v_scope.group_by, '[]'
      )
    end
  );
end;
$$;
