-- Purpose: the page functions again: cells are read once, and totals, series and rows come from them.
-- Locks: none.

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc as p
    where p.pronamespace = 'observability_internal'::regnamespace
      and p.proname in (
        'usage_totals', 'usage_series', 'latency_series', 'usage_breakdown', 'user_breakdown', 'latency_breakdown',
        'errors_by_type', 'route_cells', 'route_figures', 'page_head', 'spent_since', 'scope_for_group', 'count_users'
      )
      and p.oid <> 'observability_internal.count_users(text, timestamptz, timestamptz)'::regprocedure
  loop
    execute format('drop function %s', v_function);
  end loop;
end;
$$;

create type observability_internal.usage_sum as (
  is_current boolean,
  dim_id integer,
  requests numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  cache_write_tokens numeric,
  reasoning_tokens numeric,
  audio_input_tokens numeric,
  audio_output_tokens numeric,
  cost numeric,
  fallback_cost numeric,
  provider_reported_cost numeric,
  unpriced_requests numeric,
  fallback_requests numeric,
  estimated_requests numeric
);

create type observability_internal.usage_point as (
  bucket_start timestamptz,
  key text,
  requests numeric,
  errors numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  reasoning_tokens numeric,
  cost numeric,
  unpriced_requests numeric
);

create type observability_internal.usage_figures as (
  sums observability_internal.usage_sum[],
  points observability_internal.usage_point[]
);

comment on type observability_internal.usage_figures is 'What a page needs of the cells: sums by dimensions of the period and of the one before, and points by bucket and key.';

create function observability_internal.read_user_cells(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_figures
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select true as is_current, c.*
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time, true) as c
    union all
    select false, c.*
    from observability_internal.usage_cells(scope, (scope).previous_from, (scope).from_time, false) as c
  ),
  sums as (
    select
      c.is_current, c.dim_id, sum(c.requests), sum(c.prompt_tokens), sum(c.completion_tokens), sum(c.cached_tokens),
      sum(c.cache_write_tokens), sum(c.reasoning_tokens), sum(c.audio_input_tokens), sum(c.audio_output_tokens),
      sum(c.cost), sum(c.fallback_cost), sum(c.provider_reported_cost), sum(c.unpriced_requests),
      sum(c.fallback_requests), sum(c.estimated_requests)
    from cells as c
    group by c.is_current, c.dim_id
  ),
  points as (
    select
      c.bucket_start,
      case read_user_cells.group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
        when 'user_id' then u.user_id
      end as key,
      sum(c.requests), coalesce(sum(c.requests) filter (where d.status = 'error'), 0), sum(c.prompt_tokens),
      sum(c.completion_tokens), sum(c.cached_tokens), sum(c.reasoning_tokens), sum(c.cost), sum(c.unpriced_requests)
    from cells as c
    inner join observability_internal.dimensions as d using (dim_id)
    left join observability_internal.users as u on read_user_cells.group_by = 'user_id' and c.user_key = u.user_key
    where c.is_current
    group by 1, 2
  )
  select row(
    array(select row(s.*)::observability_internal.usage_sum from sums as s),
    array(select row(p.*)::observability_internal.usage_point from points as p)
  )::observability_internal.usage_figures;
$$;

comment on function observability_internal.read_user_cells(observability_internal.read_scope, text) is 'Figures of some users, or of calls with some metadata.';

create function observability_internal.read_sums(scope observability_internal.read_scope)
returns observability_internal.usage_sum[]
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_now constant observability_internal.range_split := observability_internal.split_range(
    scope.from_time, scope.to_time, '{}', 'day'
  );
  v_before constant observability_internal.range_split := observability_internal.split_range(
    scope.previous_from, scope.from_time, '{}', 'day'
  );
  v_dims constant integer[] := scope.dims;
begin
  return array(
    with cells as (
      select true as is_current, r.* from observability_internal.usage_by_day as r where r.bucket = any (v_now.days)
      union all
      select true, r.* from observability_internal.usage_by_hour as r where r.bucket = any (v_now.hours)
      union all
      select true, r.* from observability_internal.usage_by_minute as r where r.bucket = any (v_now.minutes)
      union all
      select false, r.* from observability_internal.usage_by_day as r where r.bucket = any (v_before.days)
      union all
      select false, r.* from observability_internal.usage_by_hour as r where r.bucket = any (v_before.hours)
      union all
      select false, r.* from observability_internal.usage_by_minute as r where r.bucket = any (v_before.minutes)
    )
    select row(
      c.is_current, c.dim_id, sum(c.requests), sum(c.prompt_tokens), sum(c.completion_tokens),
      coalesce(sum(c.cached_tokens), 0), coalesce(sum(c.cache_write_tokens), 0), coalesce(sum(c.reasoning_tokens), 0),
      coalesce(sum(c.audio_input_tokens), 0), coalesce(sum(c.audio_output_tokens), 0), sum(c.cost),
      coalesce(sum(c.fallback_cost), 0), coalesce(sum(c.provider_reported_cost), 0),
      coalesce(sum(c.unpriced_requests), 0), coalesce(sum(c.fallback_requests), 0),
      coalesce(sum(c.estimated_requests), 0)
    )::observability_internal.usage_sum
    from cells as c
    where v_dims is null or c.dim_id = any (v_dims)
    group by c.is_current, c.dim_id
  );
end;
$$;

comment on function observability_internal.read_sums(observability_internal.read_scope) is 'Sums by dimensions of the period and of the one before, from the coarsest levels that hold them.';

create function observability_internal.read_points(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_point[]
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  -- Buckets below an hour are the same on every clock.
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_bucket constant text := scope.bucket;
  v_timezone constant text := scope.timezone;
  v_dims constant integer[] := scope.dims;
  -- Of all calls, and by model, feature or environment, the sums are kept beside the histograms.
  v_kind constant text := case
    when v_bucket in ('minute', '5 minutes') then null
    when v_bucket = '15 minutes' and (read_points.group_by is not null or scope.group_kind is distinct from 'total') then null
    when read_points.group_by is null or read_points.group_by = scope.group_kind then scope.group_kind
    when scope.group_kind = 'total' and read_points.group_by in ('model', 'feature', 'environment') then read_points.group_by
  end;
  v_groups constant integer[] := array(
    select g.group_id from observability_internal.latency_groups as g
    where g.kind = v_kind and (v_kind = 'total' or scope.group_kind = 'total' or g.value = any (scope.group_values))
  );
  v_split constant observability_internal.range_split := observability_internal.split_range(
    scope.from_time, scope.to_time, scope.cuts,
    case when v_step is null then 'day' when v_kind is null then 'minute' else 'hour' end
  );
  v_quarters constant timestamptz[] := observability_internal.kept_quarters(
    v_split, scope.from_time, scope.to_time, v_kind = 'total', v_step is not null
  );
  v_minutes constant timestamptz[] := observability_internal.minutes_between(v_split.minutes, v_quarters);
begin
  return array(
    with cells as (
      select
        r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
        r.cost, r.unpriced_requests
      from observability_internal.usage_by_day as r
      where v_kind is null and r.bucket = any (v_split.days)
      union all
      select
        r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
        r.cost, r.unpriced_requests
      from observability_internal.usage_by_hour as r
      where v_kind is null and r.bucket = any (v_split.hours)
      union all
      select
        r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
        r.cost, r.unpriced_requests
      from observability_internal.usage_by_minute as r
      where r.bucket = any (v_minutes)
    ),
    -- Truncated once a bucket, not once a row.
    starts as materialized (
      select
        b.bucket,
        coalesce(date_bin(v_step, b.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, b.bucket, v_timezone)) as bucket_start
      from unnest(v_split.days || v_split.hours || v_quarters || v_minutes) as b (bucket)
      group by b.bucket
    ),
    kept as (
      select l.*, case when read_points.group_by is not null then g.value end as key
      from observability_internal.latency_by_group as l
      inner join observability_internal.latency_groups as g using (group_id)
      where l.group_id = any (v_groups) and (
        (l.level = 'day' and l.bucket = any (v_split.days))
        or (l.level = 'hour' and v_step is null and l.bucket = any (v_split.hours))
        or (l.level = 'quarter' and l.bucket = any (v_quarters))
      )
    ),
    named as materialized (
      select
        d.dim_id, d.status = 'error' as is_error,
        case read_points.group_by
          when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
          when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
        end as key
      from observability_internal.dimensions as d
      where v_dims is null or d.dim_id = any (v_dims)
    )
    select row(
      p.bucket_start, p.key, sum(p.requests), sum(p.errors), sum(p.prompt_tokens), sum(p.completion_tokens),
      sum(p.cached_tokens), sum(p.reasoning_tokens), sum(p.cost), sum(p.unpriced_requests)
    )::observability_internal.usage_point
    from (
      select
        s.bucket_start, n.key, sum(c.requests) as requests,
        coalesce(sum(c.requests) filter (where n.is_error), 0) as errors, sum(c.prompt_tokens) as prompt_tokens,
        sum(c.completion_tokens) as completion_tokens, coalesce(sum(c.cached_tokens), 0) as cached_tokens,
        coalesce(sum(c.reasoning_tokens), 0) as reasoning_tokens, sum(c.cost) as cost,
        coalesce(sum(c.unpriced_requests), 0) as unpriced_requests
      from cells as c
      inner join starts as s using (bucket)
      inner join named as n using (dim_id)
      group by s.bucket_start, n.key
      union all
      select
        s.bucket_start, k.key, k.requests, k.errors, k.prompt_tokens, k.completion_tokens, k.cached_tokens,
        k.reasoning_tokens, k.cost, k.unpriced_requests
      from kept as k
      inner join starts as s using (bucket)
      where k.requests > 0
    ) as p
    group by p.bucket_start, p.key
  );
end;
$$;

comment on function observability_internal.read_points(observability_internal.read_scope, text) is 'Points by bucket and key of the period.';

create function observability_internal.read_usage(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_figures
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when (scope).by_user then observability_internal.read_user_cells(scope, read_usage.group_by)
    else row(
      observability_internal.read_sums(scope), observability_internal.read_points(scope, read_usage.group_by)
    )::observability_internal.usage_figures
  end;
$$;

comment on function observability_internal.read_usage(observability_internal.read_scope, text) is 'Sums of the period and of the one before, and points of the period.';

create function observability_internal.totals_document(
  sums observability_internal.usage_sum[], is_current boolean, latencies jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'requests', coalesce(sum(s.requests), 0), 'prompt_tokens', coalesce(sum(s.prompt_tokens), 0),
    'completion_tokens', coalesce(sum(s.completion_tokens), 0),
    'total_tokens', coalesce(sum(s.prompt_tokens + s.completion_tokens), 0),
    'cached_tokens', coalesce(sum(s.cached_tokens), 0), 'cache_write_tokens', coalesce(sum(s.cache_write_tokens), 0),
    'reasoning_tokens', coalesce(sum(s.reasoning_tokens), 0),
    'audio_input_tokens', coalesce(sum(s.audio_input_tokens), 0),
    'audio_output_tokens', coalesce(sum(s.audio_output_tokens), 0),
    'errors', coalesce(sum(s.requests) filter (where d.status = 'error'), 0),
    'cancelled', coalesce(sum(s.requests) filter (where d.status = 'cancelled'), 0),
    'cost', case when sum(s.requests) > sum(s.unpriced_requests) then sum(s.cost)::text end,
    'fallback_cost', coalesce(sum(s.fallback_cost), 0)::text,
    'provider_reported_cost', coalesce(sum(s.provider_reported_cost), 0)::text,
    'unpriced_requests', coalesce(sum(s.unpriced_requests), 0),
    'fallback_requests', coalesce(sum(s.fallback_requests), 0),
    'estimated_requests', coalesce(sum(s.estimated_requests), 0)
  ) || totals_document.latencies
  from unnest(sums) as s
  inner join observability_internal.dimensions as d using (dim_id)
  where s.is_current = totals_document.is_current;
$$;

comment on function observability_internal.totals_document(observability_internal.usage_sum[], boolean, jsonb) is 'Requests, tokens, cost, shares and percentiles of the period or of the one before.';

create function observability_internal.latency_totals(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'latency_ms', jsonb_build_object(
      'count', coalesce(max(p.latency_count), 0), 'p50', max(p.latency_p50), 'p90', max(p.latency_p90), 'p99', max(p.latency_p99)
    ),
    'time_to_first_token_ms', jsonb_build_object(
      'count', coalesce(max(p.first_count), 0), 'p50', max(p.first_p50), 'p90', max(p.first_p90), 'p99', max(p.first_p99)
    )
  )
  from observability_internal.percentiles(scope, latency_totals.from_time, latency_totals.to_time, 'total', false, true) as p;
$$;

comment on function observability_internal.latency_totals(observability_internal.read_scope, timestamptz, timestamptz) is '{latency_ms, time_to_first_token_ms}, each {count, p50, p90, p99}.';

create function observability_internal.usage_series(points observability_internal.usage_point[], group_by text) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  -- The eight keys that cost most keep their name, by requests where nothing has a cost; the rest is one line.
  with kept as (
    select p.key from unnest(points) as p
    group by p.key
    order by sum(p.cost) desc, sum(p.requests) desc, p.key
    limit 8
  ),
  named as (
    select
      p.bucket_start, k.key, sum(p.requests) as requests, sum(p.errors) as errors,
      sum(p.prompt_tokens) as prompt_tokens, sum(p.completion_tokens) as completion_tokens,
      sum(p.cached_tokens) as cached_tokens, sum(p.reasoning_tokens) as reasoning_tokens, sum(p.cost) as cost,
      sum(p.unpriced_requests) as unpriced_requests
    from unnest(points) as p
    left join kept as k on p.key = k.key
    group by p.bucket_start, k.key
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', n.bucket_start, 'key', n.key,
      'is_other', usage_series.group_by is not null and n.key is null, 'requests', n.requests,
      'prompt_tokens', n.prompt_tokens, 'completion_tokens', n.completion_tokens,
      'total_tokens', n.prompt_tokens + n.completion_tokens, 'cached_tokens', n.cached_tokens,
      'reasoning_tokens', n.reasoning_tokens, 'errors', n.errors,
      'cost', case when n.requests > n.unpriced_requests then n.cost::text end
    ) order by n.bucket_start, n.key nulls last
  ), '[]')
  from named as n;
$$;

comment on function observability_internal.usage_series(observability_internal.usage_point[], text) is 'Points by bucket and, where group_by is given, key (top 8, the rest as key null).';

create function observability_internal.latency_series(
  scope observability_internal.read_scope, points observability_internal.usage_point[], has_first boolean
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with counts as (
    select
      p.bucket_start, sum(p.requests) as requests, sum(p.errors) as errors,
      sum(p.prompt_tokens + p.completion_tokens) as total_tokens,
      case when sum(p.requests) > sum(p.unpriced_requests) then sum(p.cost)::text end as cost
    from unnest(points) as p
    group by p.bucket_start
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', n.bucket_start, 'requests', n.requests, 'errors', n.errors, 'total_tokens', n.total_tokens,
      'cost', n.cost, 'latency_p50_ms', l.latency_p50, 'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99
    ) || case when has_first then jsonb_build_object(
      'time_to_first_token_p50_ms', l.first_p50, 'time_to_first_token_p90_ms', l.first_p90,
      'time_to_first_token_p99_ms', l.first_p99
    ) else '{}' end order by n.bucket_start
  ), '[]')
  from counts as n
  left join observability_internal.percentiles(
    scope, (scope).from_time, (scope).to_time, 'total', true, has_first
  ) as l using (bucket_start);
$$;

comment on function observability_internal.latency_series(observability_internal.read_scope, observability_internal.usage_point[], boolean) is 'Requests, errors, tokens, cost and percentiles (ms) by bucket.';

create function observability_internal.usage_breakdown(
  sums observability_internal.usage_sum[], dimensions text[], row_limit integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with keyed as (
    select
      names.dimension, names.key, sum(s.requests) filter (where s.is_current) as requests,
      sum(s.prompt_tokens) filter (where s.is_current) as prompt_tokens,
      sum(s.completion_tokens) filter (where s.is_current) as completion_tokens,
      sum(s.cached_tokens) filter (where s.is_current) as cached_tokens,
      sum(s.cost) filter (where s.is_current) as cost,
      sum(s.unpriced_requests) filter (where s.is_current) as unpriced_requests,
      sum(s.cost) filter (where not s.is_current) as previous_cost,
      sum(s.requests - s.unpriced_requests) filter (where not s.is_current) as previous_priced_requests,
      sum(s.requests) filter (where s.is_current and d.status = 'error') as errors
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    cross join lateral (
      values ('model', d.model), ('feature', d.feature), ('provider', d.provider), ('environment', d.environment),
      ('operation', d.operation), ('status', d.status)
    ) as names (dimension, key)
    where names.dimension = any (usage_breakdown.dimensions)
    group by names.dimension, names.key
  )
  select observability_internal.rank_rows(
    array(select row(k.*)::observability_internal.breakdown_row from keyed as k where k.requests > 0), row_limit
  );
$$;

comment on function observability_internal.usage_breakdown(observability_internal.usage_sum[], text[], integer) is 'Rows by the values of each dimension, the period before beside them.';

create function observability_internal.errors_by_type(sums observability_internal.usage_sum[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('error_type', t.error_type, 'requests', t.requests) order by t.requests desc, t.error_type), '[]')
  from (
    select coalesce(nullif(d.error_type, ''), 'unknown') as error_type, sum(s.requests) as requests
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    where s.is_current and d.status = 'error'
    group by coalesce(nullif(d.error_type, ''), 'unknown')
    order by requests desc
    limit 50
  ) as t;
$$;

comment on function observability_internal.errors_by_type(observability_internal.usage_sum[]) is 'Failed calls by error type, most frequent first.';

create type observability_internal.user_sum as (
  user_key integer,
  requests bigint,
  errors bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  unpriced_requests bigint,
  cost numeric
);

create function observability_internal.split_user_range(from_time timestamptz, to_time timestamptz, dims integer[])
returns observability_internal.range_split
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_split observability_internal.range_split := observability_internal.split_range(
    split_user_range.from_time, split_user_range.to_time, '{}', 'week'
  );
begin
  -- Days are kept for all dimensions together only.
  if dims is not null and v_split.days <> '{}' then
    v_split.spans := array(
      select unnest(range_agg(s.span)) from (
        select unnest(v_split.spans) as span
        union all
        select tstzrange(d.day, d.day + interval '24 hours') from unnest(v_split.days) as d (day)
      ) as s
    );
    v_split.days := '{}';
  end if;
  return v_split;
end;
$$;

comment on function observability_internal.split_user_range(timestamptz, timestamptz, integer[]) is 'As split_range, for users: what no week or day holds is in the spans.';

create function observability_internal.user_sums(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns setof observability_internal.user_sum
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
rows 1000
as $$
declare
  v_errors constant integer[] := array(
    select d.dim_id from observability_internal.dimensions as d where d.status = 'error'
  );
  v_dims constant integer[] := scope.dims;
  v_span tstzrange;
  v_from constant timestamptz := date_bin('15 minutes', user_sums.from_time, '2000-01-01 00:00:00+00');
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select
      c.user_key, c.requests, case when c.dim_id = any (v_errors) then c.requests else 0 end, c.prompt_tokens,
      c.completion_tokens, c.cached_tokens, c.unpriced_requests, c.cost
    from observability_internal.user_cells(scope, v_from, user_sums.to_time, false) as c;
    return;
  end if;
  v_split := observability_internal.split_user_range(v_from, user_sums.to_time, v_dims);
  return query
  select
    r.user_key, sum(r.requests)::bigint, sum(r.errors)::bigint, sum(r.prompt_tokens)::bigint,
    sum(r.completion_tokens)::bigint, sum(r.cached_tokens)::bigint, sum(r.unpriced_requests)::bigint, sum(r.cost)
  from (
    select w.user_key, w.requests, w.errors, w.prompt_tokens, w.completion_tokens, w.cached_tokens, w.unpriced_requests, w.cost
    from observability_internal.usage_by_user_week as w
    where w.dim_id = any (coalesce(v_dims, '{0}')) and w.bucket = any (v_split.weeks)
    union all
    select d.user_key, d.requests, d.errors, d.prompt_tokens, d.completion_tokens, d.cached_tokens, d.unpriced_requests, d.cost
    from observability_internal.usage_by_user_day as d
    where d.bucket = any (v_split.days)
  ) as r
  group by r.user_key;
  foreach v_span in array coalesce(v_split.spans, '{}') loop
    return query
    select
      r.user_key, sum(r.requests)::bigint, coalesce(sum(r.requests) filter (where r.dim_id = any (v_errors)), 0)::bigint,
      sum(r.prompt_tokens)::bigint, sum(r.completion_tokens)::bigint, coalesce(sum(r.cached_tokens), 0)::bigint,
      coalesce(sum(r.unpriced_requests), 0)::bigint, sum(r.cost)
    from observability_internal.usage_by_user as r
    where r.bucket >= lower(v_span) and r.bucket < upper(v_span) and (v_dims is null or r.dim_id = any (v_dims))
    group by r.user_key;
  end loop;
end;
$$;

comment on function observability_internal.user_sums(observability_internal.read_scope, timestamptz, timestamptz) is 'Sums by user, in parts; the range counts from the quarter of an hour in which it begins.';

create function observability_internal.user_costs(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns table (user_key integer, cost numeric, priced_requests bigint)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
rows 1000
as $$
declare
  v_dims constant integer[] := scope.dims;
  v_span tstzrange;
  v_from constant timestamptz := date_bin('15 minutes', user_costs.from_time, '2000-01-01 00:00:00+00');
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select c.user_key, c.cost, c.requests - c.unpriced_requests
    from observability_internal.user_cells(scope, v_from, user_costs.to_time, false) as c;
    return;
  end if;
  v_split := observability_internal.split_user_range(v_from, user_costs.to_time, v_dims);
  return query
  select r.user_key, sum(r.cost), sum(r.priced)::bigint
  from (
    select w.user_key, w.cost, w.requests - w.unpriced_requests as priced
    from observability_internal.usage_by_user_week as w
    where w.dim_id = any (coalesce(v_dims, '{0}')) and w.bucket = any (v_split.weeks)
    union all
    select d.user_key, d.cost, d.requests - d.unpriced_requests
    from observability_internal.usage_by_user_day as d
    where d.bucket = any (v_split.days)
  ) as r
  group by r.user_key;
  foreach v_span in array coalesce(v_split.spans, '{}') loop
    return query
    select r.user_key, sum(r.cost), sum(r.requests - coalesce(r.unpriced_requests, 0))::bigint
    from observability_internal.usage_by_user as r
    where r.bucket >= lower(v_span) and r.bucket < upper(v_span) and (v_dims is null or r.dim_id = any (v_dims))
    group by r.user_key;
  end loop;
end;
$$;

comment on function observability_internal.user_costs(observability_internal.read_scope, timestamptz, timestamptz) is 'Cost and priced calls by user, in parts: all that is asked of the period before.';

create function observability_internal.user_figures(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with present as materialized (
    select
      s.user_key, sum(s.requests) as requests, sum(s.errors) as errors, sum(s.prompt_tokens) as prompt_tokens,
      sum(s.completion_tokens) as completion_tokens, sum(s.cached_tokens) as cached_tokens,
      sum(s.unpriced_requests) as unpriced_requests, sum(s.cost) as cost
    from observability_internal.user_sums(scope, (scope).from_time, (scope).to_time) as s
    group by s.user_key
    having sum(s.requests) > 0
  ),
  before as materialized (
    select s.user_key, sum(s.cost) as cost, sum(s.priced_requests) as priced_requests
    from observability_internal.user_costs(scope, (scope).previous_from, (scope).from_time) as s
    group by s.user_key
  ),
  -- Only as many are sorted as are shown; the others are what is left of the sums.
  top as materialized (
    select p.* from present as p order by p.cost desc nulls last, p.requests desc, p.user_key limit (scope).row_limit
  ),
  placed as (
    select
      row_number() over (order by t.cost desc nulls last, t.requests desc, t.user_key) as place, t.*,
      b.cost as previous_cost, b.priced_requests as previous_priced_requests
    from top as t
    left join before as b using (user_key)
  ),
  others as (
    select
      count(*) as keys, sum(p.requests) as requests, sum(p.errors) as errors, sum(p.prompt_tokens) as prompt_tokens,
      sum(p.completion_tokens) as completion_tokens, sum(p.cached_tokens) as cached_tokens,
      sum(p.unpriced_requests) as unpriced_requests, sum(p.cost) as cost, sum(b.cost) as previous_cost,
      sum(b.priced_requests) as previous_priced_requests
    from present as p
    left join before as b using (user_key)
    where not exists (select from top as t where t.user_key = p.user_key)
  ),
  shown as (
    select
      p.place, p.user_key, 1 as keys, p.requests, p.errors, p.prompt_tokens, p.completion_tokens, p.cached_tokens,
      p.unpriced_requests, p.cost, p.previous_cost, p.previous_priced_requests
    from placed as p
    union all
    select
      null, null, o.keys, o.requests, o.errors, o.prompt_tokens, o.completion_tokens, o.cached_tokens,
      o.unpriced_requests, o.cost, o.previous_cost, o.previous_priced_requests
    from others as o
    where o.keys > 0
  )
  select jsonb_build_object(
    'users', (select count(*) from present), 'previous_users', (select count(*) from before),
    'top_keys', (
      select coalesce(jsonb_agg(p.user_key order by p.place) filter (where p.place <= 8), '[]') from placed as p
    ),
    'rows', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', u.user_id, 'is_other', s.user_key is null, 'keys', s.keys, 'requests', s.requests,
        'total_tokens', s.prompt_tokens + s.completion_tokens, 'prompt_tokens', s.prompt_tokens,
        'completion_tokens', s.completion_tokens, 'cached_tokens', s.cached_tokens, 'errors', s.errors,
        'unpriced_requests', s.unpriced_requests,
        'cost', case when s.requests > s.unpriced_requests then s.cost::text end,
        'previous_cost', case when s.previous_priced_requests > 0 then s.previous_cost::text end
      ) order by s.place), '[]')
      from shown as s
      left join observability_internal.users as u using (user_key)
    )
  );
$$;

comment on function observability_internal.user_figures(observability_internal.read_scope) is '{users, previous_users, top_keys, rows}: how many users, and the costliest with one row for the others.';

create function observability_internal.user_series(scope observability_internal.read_scope, top_keys integer[]) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope := scope;
  v_points observability_internal.usage_point[];
  v_own observability_internal.usage_point[];
begin
  if scope.by_user then
    v_points := (observability_internal.read_usage(scope, 'user_id')).points;
    return observability_internal.usage_series(v_points, 'user_id');
  end if;
  -- The users that cost most are read one by one; the others are the rest of the total.
  if v_scope.bucket in ('minute', '5 minutes') then
    v_scope.bucket := '15 minutes';
  end if;
  v_scope.from_time := date_bin('15 minutes', scope.from_time, '2000-01-01 00:00:00+00');
  v_scope.to_time := date_bin('15 minutes', scope.to_time + interval '899 seconds', '2000-01-01 00:00:00+00');
  v_scope.previous_from := v_scope.from_time;
  v_points := observability_internal.read_points(v_scope, null);
  v_scope.by_user := true;
  v_scope.user_keys := top_keys;
  v_own := (observability_internal.read_user_cells(v_scope, 'user_id')).points;
  v_points := array(
    select row(
      p.bucket_start, p.key, sum(p.requests), sum(p.errors), sum(p.prompt_tokens), sum(p.completion_tokens),
      sum(p.cached_tokens), sum(p.reasoning_tokens), sum(p.cost), sum(p.unpriced_requests)
    )::observability_internal.usage_point
    from (
      select t.* from unnest(v_points) as t
      union all
      select u.* from unnest(v_own) as u
      union all
      select
        u.bucket_start, null, -u.requests, -u.errors, -u.prompt_tokens, -u.completion_tokens, -u.cached_tokens,
        -u.reasoning_tokens, -u.cost, -u.unpriced_requests
      from unnest(v_own) as u
    ) as p
    group by p.bucket_start, p.key
    having sum(p.requests) > 0
  );
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'bucket_start', p.bucket_start, 'key', p.key, 'is_other', p.key is null, 'requests', p.requests,
        'prompt_tokens', p.prompt_tokens, 'completion_tokens', p.completion_tokens,
        'total_tokens', p.prompt_tokens + p.completion_tokens, 'cached_tokens', p.cached_tokens,
        'reasoning_tokens', p.reasoning_tokens, 'errors', p.errors,
        'cost', case when p.requests > p.unpriced_requests then p.cost::text end
      ) order by p.bucket_start, p.key nulls last
    ), '[]')
    from unnest(v_points) as p
  );
end;
$$;

comment on function observability_internal.user_series(observability_internal.read_scope, integer[]) is 'Points by bucket and user: these users, the rest as key null.';

create function observability_internal.latency_breakdown(
  scope observability_internal.read_scope, sums observability_internal.usage_sum[], dimension text
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with counts as (
    select
      case latency_breakdown.dimension when 'model' then d.model when 'feature' then d.feature end collate "C" as key,
      sum(s.requests) as requests, coalesce(sum(s.requests) filter (where d.status = 'error'), 0) as errors
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    where s.is_current
    group by 1
    order by sum(s.requests) desc, 1
    limit (scope).row_limit
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'key', n.key, 'requests', n.requests, 'errors', n.errors, 'latency_p50_ms', l.latency_p50,
    'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99, 'time_to_first_token_p50_ms', l.first_p50,
    'time_to_first_token_p90_ms', l.first_p90, 'time_to_first_token_p99_ms', l.first_p99
  ) order by n.requests desc, n.key), '[]')
  from counts as n
  left join observability_internal.percentiles(
    scope, (scope).from_time, (scope).to_time, latency_breakdown.dimension, false, true
  ) as l using (key);
$$;

comment on function observability_internal.latency_breakdown(observability_internal.read_scope, observability_internal.usage_sum[], text) is 'Requests, errors and percentiles (ms) by model or feature, busiest first.';

create function observability_internal.route_counts(scope observability_internal.read_scope) returns table (
  bucket_start timestamptz, route_id integer, requests double precision
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_split observability_internal.range_split;
begin
  v_split := observability_internal.split_range(
    scope.from_time, scope.to_time, scope.cuts, case when v_step is not null then 'minute' else 'day' end
  );
  return query
  with cells as (
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_day as r
    where r.bucket = any (v_split.days)
    union all
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_hour as r
    where r.bucket = any (v_split.hours)
    union all
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_minute as r
    where r.bucket = any (v_split.minutes)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(scope.bucket, c.bucket, scope.timezone)),
    c.route_id, sum(c.requests)
  from cells as c
  group by 1, 2;
end;
$$;

comment on function observability_internal.route_counts(observability_internal.read_scope) is 'HTTP requests by bucket and route.';

create function observability_internal.route_figures(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select c.*, d.method || ' ' || d.route as key, d.method, d.route, (d.status_code >= 500 or d.error_type <> '') as is_error
    from observability_internal.route_counts(scope) as c
    inner join observability_internal.route_dimensions as d using (route_id)
    where (scope).environments is null or d.environment = any ((scope).environments)
  ),
  points as (
    select
      c.bucket_start, sum(c.requests) as requests, coalesce(sum(c.requests) filter (where c.is_error), 0) as errors
    from cells as c
    group by c.bucket_start
  ),
  routes as (
    select
      c.key collate "C" as key, c.method, c.route, sum(c.requests) as requests,
      coalesce(sum(c.requests) filter (where c.is_error), 0) as errors
    from cells as c
    group by c.key, c.method, c.route
  ),
  slowest as (
    select r.*, l.latency_p50, l.latency_p90, l.latency_p99
    from routes as r
    left join observability_internal.percentiles(scope, (scope).from_time, (scope).to_time, 'route', false, false) as l using (key)
    order by l.latency_p90 desc nulls last, r.route
    limit (scope).row_limit
  )
  select jsonb_build_object(
    'requests', coalesce((select sum(p.requests) from points as p), 0),
    'errors', coalesce((select sum(p.errors) from points as p), 0),
    'latency_ms', (
      select jsonb_build_object(
        'count', coalesce(max(l.latency_count), 0), 'p50', max(l.latency_p50), 'p90', max(l.latency_p90), 'p99', max(l.latency_p99)
      )
      from observability_internal.percentiles(scope, (scope).from_time, (scope).to_time, 'requests', false, false) as l
    ),
    'series', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'bucket_start', p.bucket_start, 'requests', p.requests, 'errors', p.errors, 'latency_p50_ms', l.latency_p50,
        'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99
      ) order by p.bucket_start), '[]')
      from points as p
      left join observability_internal.percentiles(
        scope, (scope).from_time, (scope).to_time, 'requests', true, false
      ) as l using (bucket_start)
    ),
    'by_route', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', s.route, 'method', s.method, 'requests', s.requests, 'errors', s.errors, 'latency_p50_ms', s.latency_p50,
        'latency_p90_ms', s.latency_p90, 'latency_p99_ms', s.latency_p99
      ) order by s.latency_p90 desc nulls last, s.route), '[]')
      from slowest as s
    )
  );
$$;

comment on function observability_internal.route_figures(observability_internal.read_scope) is 'HTTP requests of a range: totals, series, and routes, slowest p90 first.';

create function observability_internal.page_head(
  scope observability_internal.read_scope, sums observability_internal.usage_sum[], users jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'access', case when (scope).access = 'service' then 'ops' else (scope).access end,
    'from_time', (scope).from_time, 'to_time', (scope).to_time, 'bucket', (scope).bucket,
    'timezone', (scope).timezone, 'generated_at', clock_timestamp(),
    'newest_event_at', case
      when (scope).access = 'member' then (
        select max(r.bucket) from observability_internal.usage_by_user as r where r.user_key = any ((scope).user_keys)
      )
      else (select max(r.bucket) from observability_internal.usage_by_minute as r)
    end,
    'pending_rows', observability_internal.pending_rows(),
    'has_demo_data', exists (select from observability_internal.dimensions as d where d.environment = 'demo'),
    'options', (
      select jsonb_build_object(
        'models', coalesce(jsonb_agg(distinct d.model), '[]'), 'providers', coalesce(jsonb_agg(distinct d.provider), '[]'),
        'features', coalesce(jsonb_agg(distinct d.feature), '[]'),
        'environments', coalesce(jsonb_agg(distinct d.environment), '[]'),
        'operations', coalesce(jsonb_agg(distinct d.operation), '[]')
      )
      from observability_internal.dimensions as d
    ),
    'totals', observability_internal.totals_document(
      sums, true, observability_internal.latency_totals(scope, (scope).from_time, (scope).to_time)
    ) || jsonb_strip_nulls(jsonb_build_object('users', page_head.users -> 'users')),
    'previous', observability_internal.totals_document(
      sums, false, observability_internal.latency_totals(scope, (scope).previous_from, (scope).from_time)
    ) || jsonb_strip_nulls(jsonb_build_object('users', page_head.users -> 'previous_users'))
  );
$$;

comment on function observability_internal.page_head(observability_internal.read_scope, observability_internal.usage_sum[], jsonb) is 'What every page shows: access, range, freshness, filter options, totals and those of the period before; users where they are given.';

create function observability_internal.spent_since(unit text, filters jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(
    date_trunc(unit, now(), coalesce(filters ->> 'timezone', 'UTC')), now() + interval '1 minute',
    (filters - 'metadata') || '{"bucket": "day"}'
  );
begin
  if filters ? 'metadata' then
    return jsonb_build_object('from_time', v_scope.from_time, 'requests', null, 'total_tokens', null, 'cost', null);
  end if;
  return (
    select jsonb_build_object(
      'from_time', v_scope.from_time, 'requests', coalesce(sum(c.requests), 0),
      'total_tokens', coalesce(sum(c.prompt_tokens + c.completion_tokens), 0),
      'cost', case when sum(c.requests) > sum(c.unpriced_requests) then sum(c.cost)::text end
    )
    from observability_internal.usage_cells(v_scope, v_scope.from_time, v_scope.to_time, false) as c
  );
end;
$$;

comment on function observability_internal.spent_since(text, jsonb) is 'Requests, tokens and cost since the local day or month began; null under a filter by metadata.';

create or replace function observability.get_overview(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
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
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, null);
  v_users constant jsonb := observability_internal.user_figures(v_scope);
  v_rows constant jsonb := observability_internal.usage_breakdown(v_figures.sums, '{model,feature}', v_scope.row_limit);
begin
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'today', observability_internal.spent_since('day', filters),
    'month', observability_internal.spent_since('month', filters),
    'series', observability_internal.latency_series(v_scope, v_figures.points, false),
    'top_models', coalesce(v_rows -> 'model', '[]'), 'top_features', coalesce(v_rows -> 'feature', '[]'),
    'top_users', v_users -> 'rows',
    'firing_alerts', case when v_scope.access <> 'member' then (
      select count(*) from observability.alerts as a where a.state = 'firing'
    ) end
  );
end;
$$;

create function observability_internal.grouped_series(
  scope observability_internal.read_scope, points observability_internal.usage_point[], users jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select case (scope).group_by
    when 'user_id' then observability_internal.user_series(
      scope, array(select k.key::integer from jsonb_array_elements_text(grouped_series.users -> 'top_keys') as k (key))
    )
    else observability_internal.usage_series(points, (scope).group_by)
  end;
$$;

comment on function observability_internal.grouped_series(observability_internal.read_scope, observability_internal.usage_point[], jsonb) is 'Points by bucket and the key asked for.';

create or replace function observability.get_usage(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
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
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, nullif(v_scope.group_by, 'user_id'));
  v_users constant jsonb := observability_internal.user_figures(v_scope);
  v_rows constant jsonb := observability_internal.usage_breakdown(
    v_figures.sums, '{model,feature,operation,status}', v_scope.row_limit
  );
begin
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'series', observability_internal.grouped_series(v_scope, v_figures.points, v_users),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_operation', coalesce(v_rows -> 'operation', '[]'), 'by_status', coalesce(v_rows -> 'status', '[]'),
    'by_user', v_users -> 'rows'
  );
end;
$$;

create or replace function observability.get_costs(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
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
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, nullif(v_scope.group_by, 'user_id'));
  v_users constant jsonb := observability_internal.user_figures(v_scope);
  v_rows constant jsonb := observability_internal.usage_breakdown(
    v_figures.sums, '{model,feature,provider,environment}', v_scope.row_limit
  );
begin
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'series', observability_internal.grouped_series(v_scope, v_figures.points, v_users),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_provider', coalesce(v_rows -> 'provider', '[]'), 'by_environment', coalesce(v_rows -> 'environment', '[]'),
    'by_user', v_users -> 'rows'
  );
end;
$$;

create or replace function observability.get_performance(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
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
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, null);
begin
  return observability_internal.page_head(
    v_scope, v_figures.sums, null
  ) || jsonb_build_object(
    'series', observability_internal.latency_series(v_scope, v_figures.points, true),
    'by_model', observability_internal.latency_breakdown(v_scope, v_figures.sums, 'model'),
    'by_feature', observability_internal.latency_breakdown(v_scope, v_figures.sums, 'feature'),
    'errors_by_type', observability_internal.errors_by_type(v_figures.sums),
    'routes', case when v_scope.access <> 'member' then observability_internal.route_figures(v_scope) end
  );
end;
$$;

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'observability_internal'::regnamespace
      and p.proname in (
        'check_metadata', 'split_range', 'kept_quarters', 'minutes_between', 'raw_cells', 'user_cells', 'usage_cells', 'group_histograms',
        'call_histograms', 'request_histograms', 'find_histograms', 'percentiles', 'read_user_cells', 'read_sums',
        'read_points', 'read_usage', 'totals_document',
        'latency_totals', 'usage_series', 'latency_series', 'usage_breakdown', 'errors_by_type', 'split_user_range',
        'user_sums', 'user_costs',
        'user_figures', 'user_series', 'latency_breakdown', 'route_counts', 'route_figures', 'page_head',
        'spent_since', 'grouped_series'
      )
  loop
    execute format('grant execute on function %s to authenticated, service_role', v_function);
  end loop;
end;
$$;
