-- Sessions, which stand in single calls alone: the list of them, their points, and how many an entity has.
-- Locks: none; it only creates.

-- Security definer: as has_raw_calls.
create function observability_internal.raw_calls_begin(from_time timestamptz, to_time timestamptz) returns timestamptz
language sql
stable
security definer
set search_path = ''
as $$
  select greatest(raw_calls_begin.from_time, max((a.month + interval '1 month') at time zone 'UTC'))
  from observability_internal.archived_months as a
  where a.kind = 'usage' and not a.is_restored and a.month::timestamp at time zone 'UTC' < raw_calls_begin.to_time
    and (a.month + interval '1 month') at time zone 'UTC' > raw_calls_begin.from_time;
$$;

comment on function observability_internal.raw_calls_begin is
'From when on all calls of a range are in the database: its beginning, or the end of the last month of it that is archived.';
revoke execute on function observability_internal.raw_calls_begin from public;
grant execute on function observability_internal.raw_calls_begin to authenticated, service_role;

-- Calls that wait for their roll-up are in no other figure, so not in these either.
create function observability_internal.session_predicate(scope observability_internal.read_scope, filters jsonb) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select format(
    'm.created_at >= %L and m.created_at < %L and %s%s%s', (scope).from_time, (scope).to_time,
    observability_internal.call_predicate(filters),
    ' and m.user_id = any (' || quote_literal(observability_internal.filter_values(filters, 'user_id')::text) || '::text[])',
    ' and m.batch_id <> all (' || quote_literal(nullif(p.batch_ids, '{}')::text) || '::bigint[])'
  )
  from (
    select observability_internal.pending_batch_ids((scope).from_time, (scope).to_time, 2147483647) as batch_ids
  ) as p;
$$;

comment on function observability_internal.session_predicate is 'The condition on a call m of the range that the filters leave, every value quoted.';
revoke execute on function observability_internal.session_predicate from public;
grant execute on function observability_internal.session_predicate to authenticated, service_role;

create function observability_internal.session_rows(scope observability_internal.read_scope, filters jsonb)
returns observability_internal.entity_row[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_rows observability_internal.entity_row[];
begin
  execute format(
    $sql$
    select array(
      select row(
        coalesce(m.session_id, ''), count(*), count(*) filter (where m.status = 'error'),
        sum(m.prompt_tokens + m.completion_tokens), count(*) filter (where m.cost_source in ('fallback', 'unpriced')),
        coalesce(sum(m.estimated_cost) filter (where m.cost_source in ('priced', 'provider')), 0), 0, 0, 0,
        null, min(m.created_at), max(m.created_at), null, null, min(m.user_id), max(m.user_id),
        min(coalesce(m.tenant_id, '')), max(coalesce(m.tenant_id, '')),
        coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'fallback'), 0),
        count(*) filter (where m.cost_source = 'fallback'), count(*) filter (where m.cost_source = 'unpriced')
      )::observability_internal.entity_row
      from observability_internal.ai_usage_metrics as m
      where %s
      group by coalesce(m.session_id, '')
    )
    $sql$,
    observability_internal.session_predicate(scope, filters)
  ) into v_rows;
  return v_rows;
end;
$$;

comment on function observability_internal.session_rows is 'Every session with a call in the range, and one row of the calls without one.';
revoke execute on function observability_internal.session_rows from public;
grant execute on function observability_internal.session_rows to authenticated, service_role;

create type observability_internal.entity_line as (
  key text,
  points jsonb
);

create type observability_internal.entity_session_sum as (
  key text,
  sessions bigint,
  session_cost numeric
);

create function observability_internal.entity_session_points(
  scope observability_internal.read_scope, filters jsonb, sessions observability_internal.entity_row[]
) returns setof observability_internal.entity_line
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query execute format(
    $sql$
    with calls as (
      select
        m.session_id, m.cost_source in ('priced', 'provider') as is_known, m.estimated_cost,
        row_number() over (partition by m.session_id order by m.created_at, m.event_id) - 1 as place,
        count(*) over (partition by m.session_id) as calls
      from observability_internal.ai_usage_metrics as m
      where m.session_id = any ($1) and %s
    ),
    parts as (
      select
        c.session_id, case when c.calls <= 30 then c.place else c.place * 30 / c.calls end as part,
        sum(c.estimated_cost) filter (where c.is_known) as cost
      from calls as c
      group by 1, 2
    )
    select p.session_id, jsonb_agg(p.cost::text order by p.part) from parts as p group by p.session_id
    $sql$,
    observability_internal.session_predicate(scope, filters)
  ) using array(select s.key from unnest(sessions) as s where s.key <> '');
end;
$$;

comment on function observability_internal.entity_session_points is
'What the calls of each session cost in their order, of more than 30 calls in 30 parts; null where none has a price.';
revoke execute on function observability_internal.entity_session_points from public;
grant execute on function observability_internal.entity_session_points to authenticated, service_role;

create function observability_internal.entity_sessions(
  scope observability_internal.read_scope, filters jsonb, group_by text, wanted text[]
) returns setof observability_internal.entity_session_sum
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_key constant text := case entity_sessions.group_by
    when 'user_id' then 'm.user_id' when 'tenant_id' then 'coalesce(m.tenant_id, '''')'
    else format('coalesce(m.tags ->> %L, '''')', substr(entity_sessions.group_by, 6))
  end;
  -- As in the index by tenant, unless those without one are wanted.
  v_found constant text := case when entity_sessions.group_by = 'tenant_id' and '' <> all (wanted) then 'm.tenant_id' else v_key end;
begin
  return query execute format(
    $sql$
    select s.key, count(*), sum(s.cost)
    from (
      select %s as key, m.session_id, sum(m.estimated_cost) as cost
      from observability_internal.ai_usage_metrics as m
      where m.session_id is not null and m.cost_source in ('priced', 'provider') and ($1 is null or %s = any ($1)) and %s
      group by 1, 2
    ) as s
    group by s.key
    $sql$,
    v_key, v_found, observability_internal.session_predicate(scope, filters)
  ) using wanted;
end;
$$;

comment on function observability_internal.entity_sessions is
'How many sessions with a priced call these entities (null: all) had, and what the priced calls in them cost.';
revoke execute on function observability_internal.entity_sessions from public;
grant execute on function observability_internal.entity_sessions to authenticated, service_role;

-- Beyond these, sessions are not counted: that would read more single calls than a page has time for.
create function observability_internal.countable_entities(
  shown observability_internal.entity_row[], group_by text, all_requests numeric
) returns text[]
language sql
immutable
security invoker
set search_path = ''
as $$
  select coalesce(array_agg(r.key), '{}')
  from (
    select s.key, sum(s.requests) over (order by s.requests, s.key) as read
    from unnest(shown) as s
    where all_requests <= 250000 or group_by = 'user_id' or (group_by = 'tenant_id' and s.key <> '')
  ) as r
  where all_requests <= 250000 or r.read <= 50000;
$$;

comment on function observability_internal.countable_entities is
'Those of the shown entities whose sessions are counted: all up to 250,000 calls of the range, else users and tenants of 50,000 together.';
revoke execute on function observability_internal.countable_entities from public;
grant execute on function observability_internal.countable_entities to authenticated, service_role;
