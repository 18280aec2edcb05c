-- Adds stored batches to the finest levels of the rollups, each row exactly once.
-- Locks: none to apply, it only creates. At run time the roll-up's advisory transaction lock and ROW EXCLUSIVE on the
-- rollups.

create function observability_internal.add_users(batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  insert into observability_internal.users (user_id, attribution_id)
  select c.user_id, a.attribution_id
  from (
    select distinct m.user_id, coalesce(m.tenant_id, '') as tenant_id, coalesce(m.tags, '{}') as tags
    from observability_internal.ai_usage_metrics as m
    where m.batch_id = any (batch_ids)
      and m.created_at between add_users.min_created_at and add_users.max_created_at
  ) as c
  inner join observability_internal.attributions as a using (tenant_id, tags)
  where not exists (
    select from observability_internal.users as u where c.user_id = u.user_id and a.attribution_id = u.attribution_id
  )
  on conflict do nothing;
  if found then
    perform observability_internal.add_person_keys();
  end if;
end;
$$;

comment on function observability_internal.add_users is 'Gives a key to each new user, tenant and tags of these batches; the attributions have theirs.';
revoke execute on function observability_internal.add_users from public;
grant execute on function observability_internal.add_users to service_role;

create function observability_internal.add_person_keys() returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  update observability_internal.users as u
  set person_key = (select min(o.user_key) from observability_internal.users as o where o.user_id = u.user_id)
  where u.person_key is null;
$$;

comment on function observability_internal.add_person_keys is 'Tells new keys whose they are: the first key of their user id.';
revoke execute on function observability_internal.add_person_keys from public;
grant execute on function observability_internal.add_person_keys to service_role;

create function observability_internal.key_of(user_id text, tenant_id text, tags jsonb) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_attribution_id integer;
  v_key integer;
begin
  insert into observability_internal.attributions (tenant_id, tags) values (key_of.tenant_id, key_of.tags) on conflict do nothing;
  select a.attribution_id into v_attribution_id
  from observability_internal.attributions as a
  where a.tenant_id = key_of.tenant_id and a.tags = key_of.tags;
  insert into observability_internal.users (user_id, attribution_id) values (key_of.user_id, v_attribution_id)
  on conflict do nothing;
  perform observability_internal.add_person_keys();
  select u.user_key into v_key
  from observability_internal.users as u
  where u.user_id = key_of.user_id and u.attribution_id = v_attribution_id;
  return v_key;
end;
$$;

comment on function observability_internal.key_of is 'The key of a user id with a tenant (empty: none) and tags, made where there is none.';
revoke execute on function observability_internal.key_of from public;
grant execute on function observability_internal.key_of to service_role;

create function observability_internal.add_names(batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  with calls as materialized (
    select
      m.provider, m.model, coalesce(m.feature, '') as feature, m.environment, m.operation, m.status,
      coalesce(m.error_type, '') as error_type, coalesce(m.tenant_id, '') as tenant_id, coalesce(m.tags, '{}') as tags
    from observability_internal.ai_usage_metrics as m
    where m.batch_id = any (batch_ids)
      and m.created_at between add_names.min_created_at and add_names.max_created_at
  ),
  named as (
    insert into observability_internal.attributions (tenant_id, tags)
    select distinct c.tenant_id, c.tags from calls as c
    where not exists (
      select from observability_internal.attributions as a where c.tenant_id = a.tenant_id and c.tags = a.tags
    )
    on conflict do nothing
  )
  insert into observability_internal.dimensions (provider, model, feature, environment, operation, status, error_type)
  select distinct c.provider, c.model, c.feature, c.environment, c.operation, c.status, c.error_type
  from calls as c
  where not exists (
    select from observability_internal.dimensions as d
    where c.provider = d.provider and c.model = d.model and c.feature = d.feature and c.environment = d.environment
      and c.operation = d.operation and c.status = d.status and c.error_type = d.error_type
  )
  on conflict do nothing;
  if not found then
    return;
  end if;
  insert into observability_internal.cost_groups (provider, model, feature, environment)
  select d.provider, d.model, d.feature, d.environment from observability_internal.dimensions as d
  except
  select g.provider, g.model, g.feature, g.environment from observability_internal.cost_groups as g
  on conflict do nothing;
end;
$$;

comment on function observability_internal.add_names is
'Gives a key to each new combination of dimensions and each new tenant with tags of these batches.';
revoke execute on function observability_internal.add_names from public;
grant execute on function observability_internal.add_names to service_role;

create function observability_internal.add_cells(target text, cells observability_internal.usage_cell[]) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_by_user constant boolean := target = 'usage_by_user';
begin
  if not v_by_user then
    perform observability_internal.unpack_minutes(
      observability_internal.quarters_of(array(select c.bucket_start from unnest(cells) as c where c.user_key is null))
    );
  end if;
  execute format(
    $sql$
    insert into observability_internal.%1$I as r (
      bucket, dim_id, %5$s, latency, time_to_first_token%2$s
    )
    select
      c.bucket_start, c.dim_id, %6$s,
      case when c.requests > 128 then observability_internal.merge_histogram(c.latency) else c.latency end,
      case when c.requests > 128 then observability_internal.merge_histogram(c.time_to_first_token)
        else c.time_to_first_token end%3$s
    from unnest($1) as c
    where (c.user_key is not null) = $2
    order by %4$s c.bucket_start, c.dim_id
    on conflict (bucket, dim_id%2$s) do update set
      %7$s,
      latency = case when cardinality(r.latency) + cardinality(excluded.latency) > 256
        then observability_internal.merge_histogram(r.latency || excluded.latency)
        else r.latency || excluded.latency end,
      time_to_first_token = case when cardinality(r.time_to_first_token) + cardinality(excluded.time_to_first_token) > 256
        then observability_internal.merge_histogram(r.time_to_first_token || excluded.time_to_first_token)
        else r.time_to_first_token || excluded.time_to_first_token end
    $sql$,
    target, case when v_by_user then ', user_key' end, case when v_by_user then ', c.user_key' end,
    case when v_by_user then 'c.user_key,' end, observability_internal.each_sum('%1$I'), observability_internal.each_sum('c.%1$I'),
    observability_internal.each_sum(
      '%1$I = r.%1$I + excluded.%1$I', '%1$I = coalesce(r.%1$I + excluded.%1$I, r.%1$I, excluded.%1$I)'
    )
  ) using cells, v_by_user;
end;
$$;

comment on function observability_internal.add_cells is 'Adds cells to usage_by_minute (those without a user) or usage_by_user (those with one).';
revoke execute on function observability_internal.add_cells from public;
grant execute on function observability_internal.add_cells to service_role;

create function observability_internal.add_user_dims(cells observability_internal.usage_cell[]) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  with present as (
    select c.user_key, array_agg(distinct c.dim_id) as dim_ids
    from unnest(cells) as c
    where c.user_key is not null
    group by c.user_key
  )
  update observability_internal.users as u
  set dim_ids = array(select distinct d.dim_id from unnest(u.dim_ids || p.dim_ids) as d (dim_id) order by d.dim_id)
  from present as p
  where u.user_key = p.user_key and not u.dim_ids @> p.dim_ids;
$$;

comment on function observability_internal.add_user_dims is 'Notes with each user the dimensions that its calls had for the first time.';
revoke execute on function observability_internal.add_user_dims from public;
grant execute on function observability_internal.add_user_dims to service_role;

create function observability_internal.roll_up_usage(
  batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz
) returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_cells observability_internal.usage_cell[];
  v_rows bigint;
  v_minutes timestamptz[];
begin
  perform observability_internal.add_names(batch_ids, roll_up_usage.min_created_at, roll_up_usage.max_created_at);
  perform observability_internal.add_users(batch_ids, roll_up_usage.min_created_at, roll_up_usage.max_created_at);

  -- Both levels at once: cells of minutes have no user.
  execute format(
    $sql$
    with calls as materialized (
      select
        date_trunc('minute', m.created_at) as minute, m.quarter, m.dim_id, m.user_key, m.latency, m.time_to_first_token, %1$s
      from observability_internal.counted_calls as m
      where m.batch_id = any ($1) and m.created_at between $2 and $3
    )
    select array_agg(g.cell)
    from (
      select row(
        coalesce(c.minute, c.quarter), c.dim_id, c.user_key, %2$s,
        array_agg(c.latency) filter (where c.latency is not null),
        array_agg(c.time_to_first_token) filter (where c.time_to_first_token is not null)
      )::observability_internal.usage_cell as cell
      from calls as c
      group by grouping sets ((c.minute, c.dim_id), (c.quarter, c.dim_id, c.user_key))
    ) as g
    $sql$,
    observability_internal.each_sum('m.%1$I'), observability_internal.each_sum('sum(c.%1$I)::%2$s')
  ) into v_cells using batch_ids, roll_up_usage.min_created_at, roll_up_usage.max_created_at;
  perform observability_internal.add_cells('usage_by_minute', v_cells);
  perform observability_internal.add_cells('usage_by_user', v_cells);
  perform observability_internal.add_user_dims(v_cells);
  select sum(c.requests), array_agg(distinct c.bucket_start) into v_rows, v_minutes
  from unnest(v_cells) as c where c.user_key is null;
  perform observability_internal.mark_stale(v_minutes);
  perform observability_internal.note_late_minutes(v_minutes, false);
  return coalesce(v_rows, 0);
end;
$$;

comment on function observability_internal.roll_up_usage is 'Adds the usage rows of these batches to the rollups; returns how many.';
revoke execute on function observability_internal.roll_up_usage from public;
grant execute on function observability_internal.roll_up_usage to service_role;

create function observability_internal.roll_up_performance(
  batch_ids bigint[], min_created_at timestamptz, max_created_at timestamptz
) returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_rows bigint;
  v_minutes timestamptz[];
begin
  insert into observability_internal.route_dimensions (environment, method, route, status_code, error_type)
  select distinct m.environment, m.method, m.route, m.status_code, coalesce(m.error_type, '')
  from observability_internal.performance_metrics as m
  where m.batch_id = any (batch_ids)
    and m.created_at between roll_up_performance.min_created_at and roll_up_performance.max_created_at
    and not exists (
      select from observability_internal.route_dimensions as d
      where m.environment = d.environment and m.method = d.method and m.route = d.route
        and m.status_code = d.status_code and coalesce(m.error_type, '') = d.error_type
    )
  on conflict do nothing;

  with requests as materialized (
    select
      date_trunc('minute', m.created_at) as minute, d.route_id, m.sample_weight,
      ((ceil(ln(case when m.latency_ms < 0.001 then 0.001 else m.latency_ms end) / 0.020000666706669435)::bigint + 400) << 44)
      + round(m.sample_weight * 1024)::bigint as latency,
      ((ceil(ln(case when m.time_to_first_byte_ms < 0.001 then 0.001 else m.time_to_first_byte_ms end) / 0.020000666706669435)::bigint + 400) << 44)
      + round(m.sample_weight * 1024)::bigint as first_byte
    from observability_internal.performance_metrics as m
    inner join observability_internal.route_dimensions as d
      on m.environment = d.environment and m.method = d.method and m.route = d.route
      and m.status_code = d.status_code and coalesce(m.error_type, '') = d.error_type
    where m.batch_id = any (batch_ids)
      and m.created_at between roll_up_performance.min_created_at and roll_up_performance.max_created_at
  ),
  minutes as (
    select
      q.minute as bucket, q.route_id, count(*) as samples, sum(q.sample_weight) as requests,
      array_agg(q.latency) as latency, array_agg(q.first_byte) filter (where q.first_byte is not null) as time_to_first_byte
    from requests as q
    group by q.minute, q.route_id
  ),
  into_minutes as (
    insert into observability_internal.performance_by_minute as r
    select
      n.bucket, n.route_id, n.requests,
      case when n.samples > 128 then observability_internal.merge_histogram(n.latency) else n.latency end,
      case when n.samples > 128 then observability_internal.merge_histogram(n.time_to_first_byte)
        else n.time_to_first_byte end
    from minutes as n
    on conflict (bucket, route_id) do update set
      requests = r.requests + excluded.requests,
      latency = case when cardinality(r.latency) + cardinality(excluded.latency) > 256
        then observability_internal.merge_histogram(r.latency || excluded.latency) else r.latency || excluded.latency end,
      time_to_first_byte = case when cardinality(r.time_to_first_byte) + cardinality(excluded.time_to_first_byte) > 256
        then observability_internal.merge_histogram(r.time_to_first_byte || excluded.time_to_first_byte)
        else r.time_to_first_byte || excluded.time_to_first_byte end
  )
  select sum(n.samples), array_agg(distinct n.bucket) into v_rows, v_minutes from minutes as n;
  perform observability_internal.mark_stale(v_minutes);
  perform observability_internal.note_late_minutes(v_minutes, true);
  return coalesce(v_rows, 0);
end;
$$;

comment on function observability_internal.roll_up_performance is 'Adds the performance rows of these batches to the rollups; returns how many.';
revoke execute on function observability_internal.roll_up_performance from public;
grant execute on function observability_internal.roll_up_performance to service_role;

create function observability.roll_up(max_rows integer default 50000) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
set jit = off
as $$
declare
  v_usage bigint[];
  v_performance bigint[];
  v_usage_min timestamptz;
  v_usage_max timestamptz;
  v_performance_min timestamptz;
  v_performance_max timestamptz;
  v_usage_rows bigint := 0;
  v_performance_rows bigint := 0;
  v_late integer;
  v_deadline timestamptz;
begin
  if max_rows is null or max_rows not between 1 and 200000 then
    raise exception 'max_rows is from 1 to 200,000' using errcode = '22023';
  end if;
  -- The lock has a statement of its own: the next statement's snapshot then sees all that the last holder committed.
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return jsonb_build_object(
      'is_busy', true, 'batches', 0, 'usage_rows', 0, 'performance_rows', 0,
      'pending_batches', (select count(*) from observability_internal.pending_batches)
    );
  end if;
  v_deadline := observability_internal.price_deadline();
  with counted as (
    select p.batch_id, sum(p.row_count) over (order by p.batch_id) - p.row_count as rows_before
    from observability_internal.pending_batches as p
    where not p.needs_price or (p.enqueued_at < v_deadline and not p.needs_usage)
  ),
  taken as (
    delete from observability_internal.pending_batches as p
    using counted as c
    where p.batch_id = c.batch_id and c.rows_before < max_rows
    returning p.batch_id, p.kind, p.min_created_at, p.max_created_at, p.needs_price
  )
  select
    array_agg(t.batch_id) filter (where t.kind = 'usage'),
    min(t.min_created_at) filter (where t.kind = 'usage'),
    max(t.max_created_at) filter (where t.kind = 'usage'),
    array_agg(t.batch_id) filter (where t.kind = 'performance'),
    min(t.min_created_at) filter (where t.kind = 'performance'),
    max(t.max_created_at) filter (where t.kind = 'performance'),
    count(*) filter (where t.needs_price)
  into v_usage, v_usage_min, v_usage_max, v_performance, v_performance_min, v_performance_max, v_late
  from taken as t;
  if v_late > 0 then
    insert into observability_internal.price_state as s (late_batches) values (v_late)
    on conflict on constraint price_state_pkey do update set late_batches = s.late_batches + excluded.late_batches;
  end if;
  if v_usage is not null then
    v_usage_rows := observability_internal.roll_up_usage(v_usage, v_usage_min, v_usage_max);
  end if;
  if v_performance is not null then
    v_performance_rows := observability_internal.roll_up_performance(v_performance, v_performance_min, v_performance_max);
  end if;
  return jsonb_build_object(
    'is_busy', false,
    'batches', coalesce(cardinality(v_usage), 0) + coalesce(cardinality(v_performance), 0),
    'usage_rows', v_usage_rows, 'performance_rows', v_performance_rows,
    'pending_batches', (
      select count(*) from observability_internal.pending_batches as p
      where not p.needs_price or (p.enqueued_at < v_deadline and not p.needs_usage)
    )
  );
end;
$$;

comment on function observability.roll_up is
'Adds waiting batches, about max_rows rows, to the rollups, each row once; those that wait for their prices stay. Returns'
' {is_busy, batches, usage_rows, performance_rows, pending_batches}.';
revoke execute on function observability.roll_up from public;
grant execute on function observability.roll_up to service_role;

create function observability_internal.change_cells(
  target text, differences observability_internal.usage_difference[]
) returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_by_user constant boolean := target = 'usage_by_user';
  v_rows bigint;
begin
  execute format(
    $sql$
    with sums as (
      select
        date_bin(%2$L, d.created_at, '2000-01-01 00:00:00+00') as bucket, d.dim_id%3$s,
        %5$s
      from unnest($1) as d
      group by 1, d.dim_id%3$s
    )
    update observability_internal.%1$I as r
    set
      %6$s
    from sums as s
    where r.bucket = s.bucket and r.dim_id = s.dim_id%4$s
    $sql$,
    target, case when v_by_user then '15 minutes' else '1 minute' end, case when v_by_user then ', d.user_key' end,
    case when v_by_user then ' and r.user_key = s.user_key' end,
    observability_internal.each_sum('coalesce(sum(d.%1$I), 0) as %1$I'),
    observability_internal.each_sum('%1$I = r.%1$I + s.%1$I', '%1$I = nullif(coalesce(r.%1$I, 0) + s.%1$I, 0)')
  ) using differences;
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

comment on function observability_internal.change_cells is 'Adds differences to rows of usage_by_minute or usage_by_user; returns how many rows.';
revoke execute on function observability_internal.change_cells from public;
grant execute on function observability_internal.change_cells to service_role;

create function observability_internal.add_usage_difference(differences observability_internal.usage_difference[])
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_rows bigint;
begin
  perform observability_internal.unpack_minutes(
    observability_internal.quarters_of(array(select d.created_at from unnest(differences) as d))
  );
  if exists (
    select from unnest(differences) as d
    where not exists (
      select from observability_internal.usage_by_minute as r
      where r.bucket = date_trunc('minute', d.created_at) and r.dim_id = d.dim_id
    ) or not exists (
      select from observability_internal.usage_by_user as r
      where r.user_key = d.user_key and r.bucket = date_bin('15 minutes', d.created_at, '2000-01-01 00:00:00+00')
        and r.dim_id = d.dim_id
    )
  ) then
    raise exception 'the rollups lack rows of the calls to correct; nothing was changed' using errcode = '55000';
  end if;
  v_rows := observability_internal.change_cells('usage_by_minute', differences);
  perform observability_internal.change_cells('usage_by_user', differences);
  perform observability_internal.mark_stale(array(select distinct d.created_at from unnest(differences) as d));
  return v_rows;
end;
$$;

comment on function observability_internal.add_usage_difference is
'Adds differences of counted calls to the minutes and users and marks the coarse levels; the caller holds the lock '
'treering.roll_up. Returns the minute rows changed.';
revoke execute on function observability_internal.add_usage_difference from public;
grant execute on function observability_internal.add_usage_difference to service_role;
