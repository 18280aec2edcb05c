-- Finds single calls: by filter, newest first, page by page.
-- Locks: none; it only creates.

-- Null is an empty text here, so that a call without a value stays in when a value is left out.
create function observability_internal.value_predicate(expression text, only_values text[], excluded text[]) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select nullif(concat_ws(
    ' and ',
    -- As in the indexes by tenant and user, unless calls without a value are wanted.
    case
      when '' = any (only_values) then format('coalesce(%s, %L) = any (%L::text[])', expression, '', only_values)
      when only_values is not null then format('%s = any (%L::text[])', expression, only_values)
    end,
    case when excluded is not null then format('coalesce(%s, %L) <> all (%L::text[])', expression, '', excluded) end
  ), '');
$$;

comment on function observability_internal.value_predicate is
'The condition that a text is one of some and none of the excluded, every value quoted; null where neither is given.';
revoke execute on function observability_internal.value_predicate from public;
grant execute on function observability_internal.value_predicate to authenticated, service_role;

create function observability_internal.attribution_predicate(filters jsonb) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select string_agg(f.condition, ' and ')
  from (
    select observability_internal.value_predicate(
      'm.tenant_id', observability_internal.filter_values(filters, 'tenant_id'),
      observability_internal.filter_values(filters -> 'not', 'tenant_id')
    ) as condition
    union all
    select observability_internal.value_predicate(format('(m.tags ->> %L)', t.name), t.chosen, null)
    from observability_internal.asked_tags(filters) as t
    union all
    select observability_internal.value_predicate(format('(m.tags ->> %L)', t.name), null, t.chosen)
    from observability_internal.asked_tags(filters -> 'not') as t
  ) as f;
$$;

comment on function observability_internal.attribution_predicate is
'The condition on a call m that the filters tenant_id and tags state, every name and value quoted; null where they are none.';
revoke execute on function observability_internal.attribution_predicate from public;
grant execute on function observability_internal.attribution_predicate to authenticated, service_role;

-- A call without a cost or latency is in no range of it: the comparison is null.
create function observability_internal.figure_predicate(filters jsonb) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select string_agg(format('%s %s %L', f.expression, f.sign, filters ->> f.name), ' and ')
  from (values
    ('min_cost', 'm.estimated_cost', '>='), ('max_cost', 'm.estimated_cost', '<='),
    ('min_latency_ms', 'm.latency_ms', '>='), ('max_latency_ms', 'm.latency_ms', '<='),
    ('min_tokens', 'm.prompt_tokens + m.completion_tokens', '>='), ('max_tokens', 'm.prompt_tokens + m.completion_tokens', '<=')
  ) as f (name, expression, sign)
  where filters ->> f.name is not null;
$$;

comment on function observability_internal.figure_predicate is
'The condition on a call m that the limits of cost, latency and tokens state; null where there are none.';
revoke execute on function observability_internal.figure_predicate from public;
grant execute on function observability_internal.figure_predicate to authenticated, service_role;

create function observability_internal.call_predicate(filters jsonb) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select concat_ws(
    ' and ', 'true', string_agg(
      observability_internal.value_predicate(
        n.expression, case when n.name <> 'user_id' then observability_internal.filter_values(filters, n.name) end,
        observability_internal.filter_values(filters -> 'not', n.name)
      ), ' and '
    ),
    observability_internal.attribution_predicate(filters),
    case when filters -> 'metadata' not in ('null', '{}') then format('m.metadata @> %L::jsonb', filters -> 'metadata') end,
    case
      when observability_internal.excluded_metadata(filters) <> '{}'
        then format('(m.metadata @> any (%L::jsonb[])) is not true', observability_internal.excluded_metadata(filters))
    end,
    observability_internal.figure_predicate(filters)
  )
  from (values
    ('provider', 'm.provider'), ('model', 'm.model'), ('feature', 'm.feature'), ('environment', 'm.environment'),
    ('operation', 'm.operation'), ('status', 'm.status'), ('error_type', 'm.error_type'), ('session_id', 'm.session_id'),
    ('user_id', 'm.user_id')
  ) as n (name, expression);
$$;

comment on function observability_internal.call_predicate is
'The condition on a call m that the filters state, every value quoted; of user_id only what is excluded.';
revoke execute on function observability_internal.call_predicate from public;
grant execute on function observability_internal.call_predicate to authenticated, service_role;

create function observability_internal.pending_batch_ids(from_time timestamptz, to_time timestamptz, max_rows integer)
returns bigint[]
language sql
stable
security definer
set search_path = ''
as $$
  select case when coalesce(sum(p.row_count), 0) <= max_rows then coalesce(array_agg(p.batch_id), '{}') end
  from observability_internal.pending_batches as p
  where observability_internal.access_level() in ('analyst', 'ops', 'service') and p.kind = 'usage'
    and p.max_created_at >= pending_batch_ids.from_time and p.min_created_at < pending_batch_ids.to_time;
$$;

comment on function observability_internal.pending_batch_ids is
'Batches of calls of a range that no rollup holds yet; null where they have more than max_rows. None for members.';
revoke execute on function observability_internal.pending_batch_ids from public;
grant execute on function observability_internal.pending_batch_ids to authenticated, service_role;

-- A rare model or error is somewhere in months of calls: the rollups know in which minutes.
create function observability_internal.minutes_with_calls(
  from_time timestamptz, until_time timestamptz, dims integer[], max_calls integer, out minutes timestamptz[], out is_all boolean
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_hour record;
  v_minute record;
  v_calls bigint := 0;
begin
  minutes := '{}';
  is_all := false;
  for v_hour in
    select r.bucket
    from observability_internal.usage_by_hour as r
    where r.bucket > minutes_with_calls.from_time - interval '1 hour' and r.bucket <= minutes_with_calls.until_time
      and r.dim_id = any (dims)
    union
    select s.bucket
    from observability_internal.stale_rollups as s
    where s.level = 'hour' and s.bucket > minutes_with_calls.from_time - interval '1 hour'
      and s.bucket <= minutes_with_calls.until_time
    order by bucket desc
  loop
    for v_minute in
      select r.bucket, sum(r.requests) as requests
      from (
        select m.bucket, m.dim_id, m.requests
        from observability_internal.usage_by_minute as m
        where m.bucket >= v_hour.bucket and m.bucket < v_hour.bucket + interval '1 hour'
        union all
        select p.quarter + p.minute * interval '1 minute', p.dim_id, p.requests
        from (
          select k.bucket as quarter, unnest(k.minutes) as minute, unnest(k.dim_ids) as dim_id, unnest(k.requests) as requests
          from observability_internal.packed_minutes as k
          where k.bucket >= v_hour.bucket and k.bucket < v_hour.bucket + interval '1 hour' and k.dim_ids && dims
        ) as p
      ) as r
      where r.bucket > minutes_with_calls.from_time - interval '1 minute' and r.bucket <= minutes_with_calls.until_time
        and r.dim_id = any (dims)
      group by r.bucket
      order by r.bucket desc
    loop
      minutes := minutes || v_minute.bucket;
      -- Of the minute in which the page begins some calls may be newer than it.
      if v_minute.bucket + interval '1 minute' <= minutes_with_calls.until_time then
        v_calls := v_calls + v_minute.requests;
      end if;
      if v_calls >= max_calls then
        return;
      end if;
    end loop;
  end loop;
  is_all := true;
end;
$$;

comment on function observability_internal.minutes_with_calls is
'The newest minutes whose calls of these dimensions reach max_calls, and whether these are all there are.';
revoke execute on function observability_internal.minutes_with_calls from public;
grant execute on function observability_internal.minutes_with_calls to authenticated, service_role;

create function observability_internal.calls_of_users(
  from_time timestamptz, until_time timestamptz, until_id uuid, users text[], predicate text, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
begin
  return query execute format($query$
    select c.*
    from (select distinct u.user_id from unnest($4) as u (user_id)) as u
    cross join lateral (
      select m.*
      from observability_internal.ai_usage_metrics as m
      where m.user_id = u.user_id and m.created_at >= $1 and m.created_at <= $2
        and (m.created_at, m.event_id) < ($2, $3) and %s
      order by m.created_at desc, m.event_id desc
      limit $5
    ) as c
    order by c.created_at desc, c.event_id desc
    limit $5
  $query$, predicate) using from_time, until_time, until_id, users, max_calls;
end;
$$;

comment on function observability_internal.calls_of_users is 'The newest calls before a place, of some people, each found in the index by user.';
revoke execute on function observability_internal.calls_of_users from public;
grant execute on function observability_internal.calls_of_users to authenticated, service_role;

create function observability_internal.calls_of_dimensions(
  from_time timestamptz, until_time timestamptz, until_id uuid, dims integer[], predicate text, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
declare
  v_pending constant bigint[] := observability_internal.pending_batch_ids(from_time, until_time, 20000);
  v_minutes timestamptz[];
  v_is_all boolean;
  v_calls observability_internal.ai_usage_metrics[];
begin
  if v_pending is not null then
    select f.minutes, f.is_all into v_minutes, v_is_all
    from observability_internal.minutes_with_calls(from_time, until_time, dims, max_calls) as f;
    execute format($query$
      select array(
        select c
        from (
          select n.*
          from unnest($4) as f (minute)
          -- The limit makes each minute a look-up in the index by time, however many minutes there are.
          cross join lateral (
            select m.*
            from observability_internal.ai_usage_metrics as m
            where m.created_at >= greatest(f.minute, $1) and m.created_at < f.minute + interval '1 minute'
              and m.created_at <= $2 and (m.created_at, m.event_id) < ($2, $3) and %1$s
            order by m.created_at desc, m.event_id desc
            limit $6
          ) as n
          union all
          select m.*
          from observability_internal.ai_usage_metrics as m
          where m.batch_id = any ($5) and m.created_at >= $1 and m.created_at <= $2
            and (m.created_at, m.event_id) < ($2, $3) and date_trunc('minute', m.created_at) <> all ($4) and %1$s
        ) as c
        order by c.created_at desc, c.event_id desc
        limit $6
      )
    $query$, predicate)
    into v_calls
    using from_time, until_time, until_id, v_minutes, v_pending, max_calls;
    -- Rollups outlive raw calls: where an archived month lies between, the calls behind it are found the plain way.
    if v_is_all or cardinality(v_calls) >= max_calls then
      return query select c.* from unnest(v_calls) as c;
      return;
    end if;
  end if;
  return query select * from observability_internal.calls_in_range(from_time, until_time, until_id, predicate, max_calls);
end;
$$;

comment on function observability_internal.calls_of_dimensions is 'The newest calls before a place, of some dimensions, found in the minutes that have any.';
revoke execute on function observability_internal.calls_of_dimensions from public;
grant execute on function observability_internal.calls_of_dimensions to authenticated, service_role;

create function observability_internal.calls_of_tenants(
  from_time timestamptz, until_time timestamptz, until_id uuid, tenants text[], predicate text, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
begin
  return query execute format($query$
    select c.*
    from (select distinct t.tenant_id from unnest($4) as t (tenant_id)) as t
    cross join lateral (
      select m.*
      from observability_internal.ai_usage_metrics as m
      where m.tenant_id = t.tenant_id and m.created_at >= $1 and m.created_at <= $2
        and (m.created_at, m.event_id) < ($2, $3) and %s
      order by m.created_at desc, m.event_id desc
      limit $5
    ) as c
    order by c.created_at desc, c.event_id desc
    limit $5
  $query$, predicate) using from_time, until_time, until_id, tenants, max_calls;
end;
$$;

comment on function observability_internal.calls_of_tenants is 'The newest calls before a place, of some tenants, each found in the index by tenant.';
revoke execute on function observability_internal.calls_of_tenants from public;
grant execute on function observability_internal.calls_of_tenants to authenticated, service_role;

create function observability_internal.calls_in_range(
  from_time timestamptz, until_time timestamptz, until_id uuid, predicate text, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
begin
  return query execute format($query$
    select m.*
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= $1 and m.created_at <= $2 and (m.created_at, m.event_id) < ($2, $3) and %s
    order by m.created_at desc, m.event_id desc
    limit $4
  $query$, predicate) using from_time, until_time, until_id, max_calls;
end;
$$;

comment on function observability_internal.calls_in_range is 'The newest calls before a place, read from the index by time.';
revoke execute on function observability_internal.calls_in_range from public;
grant execute on function observability_internal.calls_in_range to authenticated, service_role;

create function observability_internal.find_calls(
  from_time timestamptz, until_time timestamptz, until_id uuid, filters jsonb, max_calls integer
) returns setof observability_internal.ai_usage_metrics
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
declare
  v_predicate constant text := observability_internal.call_predicate(filters);
  v_users constant text[] := observability_internal.filter_values(filters, 'user_id');
  v_tenants constant text[] := observability_internal.filter_values(filters, 'tenant_id');
  v_dims constant integer[] := observability_internal.resolve_dimensions(filters);
begin
  if v_users is not null then
    return query select * from observability_internal.calls_of_users(from_time, until_time, until_id, v_users, v_predicate, max_calls);
  elsif '' <> all (v_tenants) then
    return query select * from observability_internal.calls_of_tenants(from_time, until_time, until_id, v_tenants, v_predicate, max_calls);
  -- What the rollups by minute do not know cannot be counted in them.
  elsif v_dims is not null and not observability_internal.asks_metadata(filters) and num_nonnulls(
    observability_internal.attribution_predicate(filters), observability_internal.figure_predicate(filters), filters -> 'session_id',
    filters -> 'not' -> 'session_id', filters -> 'not' -> 'user_id'
  ) = 0 then
    return query select * from observability_internal.calls_of_dimensions(from_time, until_time, until_id, v_dims, v_predicate, max_calls);
  else
    return query select * from observability_internal.calls_in_range(from_time, until_time, until_id, v_predicate, max_calls);
  end if;
end;
$$;

comment on function observability_internal.find_calls is
'The newest calls before (until_time, until_id) that the filters leave, at most max_calls, the shortest way.';
revoke execute on function observability_internal.find_calls from public;
grant execute on function observability_internal.find_calls to authenticated, service_role;

create function observability_internal.newest_call_at(access text) returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
  select case access
    when 'member' then (
      select m.created_at
      from observability_internal.ai_usage_metrics as m
      where m.user_id = observability_internal.current_person()
      order by m.created_at desc
      limit 1
    )
    when 'tenant' then (
      select m.created_at
      from observability_internal.ai_usage_metrics as m
      where m.tenant_id = observability_internal.current_tenant()
      order by m.created_at desc
      limit 1
    )
    else (
      select m.created_at from observability_internal.ai_usage_metrics as m order by m.created_at desc limit 1
    )
  end;
$$;

comment on function observability_internal.newest_call_at is 'When the newest call that the caller sees was made: their own, the tenant''s or anybody''s.';
revoke execute on function observability_internal.newest_call_at from public;
grant execute on function observability_internal.newest_call_at to authenticated, service_role;
