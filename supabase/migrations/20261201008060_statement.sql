-- A month's statement for finance: exact sums by any dimensions; certain, fallback and unpriced calls stand apart.
-- Locks: none; it only creates.

create type observability_internal.statement_sum as (
  dim_id integer,
  user_key integer,
  requests numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  cost numeric,
  provider_reported_cost numeric,
  fallback_cost numeric,
  fallback_requests numeric,
  unpriced_requests numeric,
  estimated_requests numeric
);

comment on type observability_internal.statement_sum is 'Sums of calls by dimensions and, where they are told apart, user.';

create function observability_internal.statement_sums(scope observability_internal.read_scope, has_users boolean)
returns setof observability_internal.statement_sum
language plpgsql
stable
security invoker
set search_path = ''
rows 1000
as $$
begin
  if scope.by_user then
    return query
    select
      r.dim_id, case when has_users then r.user_key end, sum(r.requests), sum(r.prompt_tokens), sum(r.completion_tokens),
      coalesce(sum(r.cached_tokens), 0), sum(r.cost), coalesce(sum(r.provider_reported_cost), 0),
      coalesce(sum(r.fallback_cost), 0), coalesce(sum(r.fallback_requests), 0), coalesce(sum(r.unpriced_requests), 0),
      coalesce(sum(r.estimated_requests), 0)
    from observability_internal.usage_by_user as r
    where r.bucket >= scope.from_time and r.bucket < scope.to_time
      and (scope.user_keys is null or r.user_key = any (scope.user_keys))
      and (scope.dims is null or r.dim_id = any (scope.dims))
    group by 1, 2;
  else
    return query
    select
      c.dim_id, null::integer, sum(c.requests), sum(c.prompt_tokens), sum(c.completion_tokens), sum(c.cached_tokens),
      sum(c.cost), sum(c.provider_reported_cost), sum(c.fallback_cost), sum(c.fallback_requests),
      sum(c.unpriced_requests), sum(c.estimated_requests)
    from observability_internal.usage_cells(scope, scope.from_time, scope.to_time, false) as c
    group by c.dim_id;
  end if;
end;
$$;

comment on function observability_internal.statement_sums is 'Sums of a scope by dimensions, and by user where asked for.';
revoke execute on function observability_internal.statement_sums from public;
grant execute on function observability_internal.statement_sums to authenticated, service_role;

-- Security definer: which months the archive has taken is no secret, and people cannot read that table.
create function observability_internal.has_raw_calls(from_time timestamptz, to_time timestamptz) returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select not exists (
    select from observability_internal.archived_months as a
    where a.kind = 'usage' and not a.is_restored and a.month::timestamp at time zone 'UTC' < has_raw_calls.to_time
      and (a.month + interval '1 month') at time zone 'UTC' > has_raw_calls.from_time
  );
$$;

comment on function observability_internal.has_raw_calls is 'Whether the calls of a range are all still in the database, none archived.';
revoke execute on function observability_internal.has_raw_calls from public;
grant execute on function observability_internal.has_raw_calls to authenticated, service_role;

-- Fees stand in raw rows alone. As in the reconciliation, a fee is at most what its call cost.
create function observability_internal.statement_fees(scope observability_internal.read_scope, has_users boolean)
returns table (dim_id integer, user_key integer, fees numeric)
language sql
stable
security invoker
set search_path = ''
as $$
  select d.dim_id, case when has_users then u.user_key end, sum(least(m.request_fees, m.estimated_cost))
  from observability_internal.ai_usage_metrics as m
  inner join observability_internal.dimensions as d
    on m.provider = d.provider and m.model = d.model and coalesce(m.feature, '') = d.feature
    and m.environment = d.environment and m.operation = d.operation and m.status = d.status
    and coalesce(m.error_type, '') = d.error_type
  inner join observability_internal.attributions as a
    on coalesce(m.tenant_id, '') = a.tenant_id and coalesce(m.tags, '{}') = a.tags
  inner join observability_internal.users as u on m.user_id = u.user_id and a.attribution_id = u.attribution_id
  where (m.request_fees is not null or m.estimated_cost < 0) and m.request_fees is not null and m.estimated_cost > 0
    and m.cost_source in ('priced', 'provider')
    and m.created_at >= (scope).from_time and m.created_at < (scope).to_time
    and ((scope).user_keys is null or u.user_key = any ((scope).user_keys))
    and ((scope).dims is null or d.dim_id = any ((scope).dims))
  group by 1, 2;
$$;

comment on function observability_internal.statement_fees is 'Fees inside the certain cost, by dimensions and, where asked for, user.';
revoke execute on function observability_internal.statement_fees from public;
grant execute on function observability_internal.statement_fees to authenticated, service_role;

create function observability_internal.statement_dimensions(dimensions jsonb) returns text[]
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_names text[];
begin
  if jsonb_typeof(dimensions) is distinct from 'array' or jsonb_array_length(dimensions) > 11 then
    raise exception 'dimensions are a list of at most 11 names' using errcode = '22023';
  end if;
  v_names := array(select jsonb_array_elements_text(dimensions));
  if exists (
    select from unnest(v_names) as n (name)
    where n.name is null or n.name not in (
      'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'tenant_id'
    ) and n.name !~ '^tags\.[a-z][a-z0-9_]{0,39}$'
  ) or (select count(distinct n.name) from unnest(v_names) as n (name)) <> cardinality(v_names) then
    raise exception
      'dimensions are provider, model, feature, environment, operation, status, user_id, tenant_id and tags.NAME, each once'
      using errcode = '22023';
  end if;
  return v_names;
end;
$$;

comment on function observability_internal.statement_dimensions is 'The names of the dimensions of a statement; refuses (22023) unknown ones.';
revoke execute on function observability_internal.statement_dimensions from public;
grant execute on function observability_internal.statement_dimensions to authenticated, service_role;

create function observability_internal.needs_users(names text[]) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select coalesce(bool_or(n.name in ('user_id', 'tenant_id') or n.name like 'tags.%'), false) from unnest(names) as n (name);
$$;

comment on function observability_internal.needs_users is
'Whether some of these dimensions is told by users and what their calls are attributed to.';
revoke execute on function observability_internal.needs_users from public;
grant execute on function observability_internal.needs_users to authenticated, service_role;

create type observability_internal.statement_line as (
  keys text[],
  user_id text,
  tenant_id text,
  provider text,
  requests numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  cost numeric,
  provider_reported_cost numeric,
  fallback_cost numeric,
  fallback_requests numeric,
  unpriced_requests numeric,
  estimated_requests numeric,
  demo_requests numeric,
  fees numeric
);

comment on type observability_internal.statement_line is
'Sums of calls by the names of the chosen dimensions (without user and tenant, which stand apart) and provider.';

create function observability_internal.statement_lines(scope observability_internal.read_scope, names text[])
returns setof observability_internal.statement_line
language sql
stable
security invoker
set search_path = ''
as $$
  with sums as (
    select s.* from observability_internal.statement_sums(scope, observability_internal.needs_users(names)) as s
  ),
  fees as (
    select f.* from observability_internal.statement_fees(scope, observability_internal.needs_users(names)) as f
  ),
  dims as (
    select
      d.dim_id, d.provider, d.environment = 'demo' as is_demo, array(
        select case n.name
          when 'provider' then d.provider when 'model' then d.model when 'feature' then d.feature
          when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
        end
        from unnest(names) with ordinality as n (name, place) where n.name not in ('user_id', 'tenant_id') order by n.place
      ) as keys
    from observability_internal.dimensions as d
  )
  select
    k.keys, case when 'user_id' = any (names) then u.user_id end, case when 'tenant_id' = any (names) then a.tenant_id end,
    d.provider, sum(s.requests), sum(s.prompt_tokens), sum(s.completion_tokens), sum(s.cached_tokens),
    sum(s.cost), sum(s.provider_reported_cost), sum(s.fallback_cost), sum(s.fallback_requests), sum(s.unpriced_requests),
    sum(s.estimated_requests), coalesce(sum(s.requests) filter (where d.is_demo), 0), coalesce(sum(f.fees), 0)
  from sums as s
  inner join dims as d using (dim_id)
  left join fees as f on s.dim_id = f.dim_id and s.user_key is not distinct from f.user_key
  left join observability_internal.users as u on s.user_key = u.user_key
  left join observability_internal.attributions as a on u.attribution_id = a.attribution_id
  -- The places of tags, which are of the users, are still empty.
  cross join lateral (
    select case
      when array_position(d.keys, null) is null then d.keys
      else array(
        select coalesce(d.keys[n.place], a.tags ->> substr(n.name, 6), '')
        from unnest(array_remove(array_remove(names, 'user_id'), 'tenant_id')) with ordinality as n (name, place)
        order by n.place
      )
    end as keys
  ) as k
  group by 1, 2, 3, 4;
$$;

comment on function observability_internal.statement_lines is 'The lines of a statement, those of several providers apart.';
revoke execute on function observability_internal.statement_lines from public;
grant execute on function observability_internal.statement_lines to authenticated, service_role;

-- Known is a cost of which some call has a price of its own, or none was made; fees where their calls are still there.
create function observability_internal.statement_figures(line observability_internal.statement_line, has_fees boolean)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'requests', coalesce((line).requests, 0), 'prompt_tokens', coalesce((line).prompt_tokens, 0),
    'cached_tokens', coalesce((line).cached_tokens, 0), 'completion_tokens', coalesce((line).completion_tokens, 0),
    'certain_requests', coalesce((line).requests - (line).fallback_requests - (line).unpriced_requests, 0),
    'cost', case
      when (line).requests is null then '0'
      when (line).requests > (line).fallback_requests + (line).unpriced_requests then (line).cost::text
    end,
    'provider_reported_cost', coalesce((line).provider_reported_cost, 0)::text,
    'fees', case when has_fees then coalesce((line).fees, 0)::text end,
    'fallback_requests', coalesce((line).fallback_requests, 0), 'fallback_cost', coalesce((line).fallback_cost, 0)::text,
    'unpriced_requests', coalesce((line).unpriced_requests, 0),
    'estimated_requests', coalesce((line).estimated_requests, 0), 'demo_requests', coalesce((line).demo_requests, 0)
  );
$$;

comment on function observability_internal.statement_figures is 'The figures of a line or of all: an unknown cost or fee is null, never 0.';
revoke execute on function observability_internal.statement_figures from public;
grant execute on function observability_internal.statement_figures to authenticated, service_role;

create function observability_internal.add_lines(lines observability_internal.statement_line[], by text)
returns setof observability_internal.statement_line
language sql
immutable
security invoker
set search_path = ''
as $$
  select
    case by when 'keys' then l.keys end, case by when 'keys' then l.user_id end, case by when 'keys' then l.tenant_id end,
    case by when 'provider' then l.provider end,
    sum(l.requests), sum(l.prompt_tokens), sum(l.completion_tokens), sum(l.cached_tokens), sum(l.cost),
    sum(l.provider_reported_cost), sum(l.fallback_cost), sum(l.fallback_requests), sum(l.unpriced_requests),
    sum(l.estimated_requests), sum(l.demo_requests), sum(l.fees)
  from unnest(lines) as l
  group by 1, 2, 3, 4;
$$;

comment on function observability_internal.add_lines is 'Lines added up by keys, by provider or, by total, all together.';
revoke execute on function observability_internal.add_lines from public;
grant execute on function observability_internal.add_lines to authenticated, service_role;

create function observability_internal.statement_page(
  lines observability_internal.statement_line[], has_fees boolean, first_row integer, row_limit integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with added as (
    select
      a as line, row_number() over (
        order by
          case when a.requests > a.fallback_requests + a.unpriced_requests then a.cost end desc nulls last,
          a.requests desc, a.keys, a.user_id, a.tenant_id
      ) as place
    from observability_internal.add_lines(lines, 'keys') as a
  )
  select coalesce(jsonb_agg(
    observability_internal.statement_figures(a.line, has_fees)
    || jsonb_build_object('keys', to_jsonb((a.line).keys), 'user_id', (a.line).user_id, 'tenant_id', (a.line).tenant_id)
    order by a.place
  ), '[]')
  from added as a
  where a.place > first_row and a.place <= first_row + row_limit;
$$;

comment on function observability_internal.statement_page is 'A page of the rows of a statement, costliest first.';
revoke execute on function observability_internal.statement_page from public;
grant execute on function observability_internal.statement_page to authenticated, service_role;

create function observability.get_statement(
  from_time timestamptz, to_time timestamptz, dimensions jsonb default '["feature", "model"]', filters jsonb default '{}',
  first_row integer default 0, row_limit integer default 20000
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  -- First, since it checks the caller.
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    get_statement.from_time, get_statement.to_time, get_statement.filters || '{"bucket": "month"}'
  );
  v_names constant text[] := observability_internal.statement_dimensions(get_statement.dimensions);
  v_has_fees boolean;
  v_lines observability_internal.statement_line[];
begin
  if v_scope.metadata is not null then
    raise exception 'a statement cannot be filtered by metadata' using errcode = '22023';
  end if;
  if first_row is null or first_row < 0 or row_limit is null or row_limit not between 1 and 50000 then
    raise exception 'first_row is 0 or more and row_limit from 1 to 50000' using errcode = '22023';
  end if;
  -- Users are counted in quarters of an hour: then everything is, so that the rows add up to the total.
  if observability_internal.needs_users(v_names) then
    v_scope.by_user := true;
    v_scope.from_time := date_bin('15 minutes', v_scope.from_time, '2000-01-01 00:00:00+00');
    v_scope.to_time := date_bin('15 minutes', v_scope.to_time + interval '899.999999 s', '2000-01-01 00:00:00+00');
  end if;
  v_has_fees := observability_internal.has_raw_calls(v_scope.from_time, v_scope.to_time);
  v_lines := array(select l from observability_internal.statement_lines(v_scope, v_names) as l);
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
    'from_time', v_scope.from_time, 'to_time', v_scope.to_time, 'timezone', v_scope.timezone,
    'generated_at', clock_timestamp(), 'dimensions', to_jsonb(v_names),
    'totals', observability_internal.statement_figures(
      (select t from observability_internal.add_lines(v_lines, 'total') as t), v_has_fees
    ),
    'providers', (
      select coalesce(jsonb_agg(
        observability_internal.statement_figures(p, v_has_fees) || jsonb_build_object('provider', p.provider) order by p.provider
      ), '[]')
      from observability_internal.add_lines(v_lines, 'provider') as p
    ),
    'row_count', (select count(*) from observability_internal.add_lines(v_lines, 'keys')),
    'rows', observability_internal.statement_page(v_lines, v_has_fees, first_row, row_limit)
  );
end;
$$;

comment on function observability.get_statement is
'The statement of a range, usually a month, by dimensions: {totals, providers, row_count, rows: [{keys, user_id, tenant_id, '
'cost, fallback_cost, …}]}, costliest first, in pages. Members get their own calls.';
revoke execute on function observability.get_statement from public;
grant execute on function observability.get_statement to authenticated, service_role;
