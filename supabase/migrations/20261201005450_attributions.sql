-- Figures by tenant and by tag: the sums of the users that belong to each.
-- Locks: none; it only creates.

create function observability_internal.attribution_options() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    -- As many as a person looks through; others are typed.
    'tenants', (
      select coalesce(jsonb_agg(t.tenant_id order by t.tenant_id), '[]')
      from (
        select distinct a.tenant_id from observability_internal.attributions as a where a.tenant_id <> '' order by 1 limit 500
      ) as t
    ),
    'tags', (
      select coalesce(jsonb_object_agg(v.name, v.options), '{}')
      from (
        select o.name, jsonb_agg(o.value order by o.value) as options
        from (
          select n.name, n.value, row_number() over (partition by n.name order by n.value) as place
          from (
            select distinct t.key as name, t.value
            from observability_internal.attributions as a
            cross join lateral jsonb_each_text(a.tags) as t
          ) as n
        ) as o
        where o.place <= 500
        group by o.name
      ) as v
    )
  );
$$;

comment on function observability_internal.attribution_options is
'{tenants, tags: {name: values}} that calls of the caller have, at most 500 of each.';
revoke execute on function observability_internal.attribution_options from public;
grant execute on function observability_internal.attribution_options to authenticated, service_role;

create function observability_internal.attributed_dimensions() returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select 'tenant_id' where exists (select from observability_internal.attributions as a where a.tenant_id <> '')
    union all
    select distinct 'tags.' || t.name
    from observability_internal.attributions as a
    cross join lateral jsonb_object_keys(a.tags) as t (name)
  );
$$;

comment on function observability_internal.attributed_dimensions is
'What calls of the caller can be told apart by: tenant_id, tags.<name>; none where they have none.';
revoke execute on function observability_internal.attributed_dimensions from public;
grant execute on function observability_internal.attributed_dimensions to authenticated, service_role;

create function observability_internal.attributed_figures(
  scope observability_internal.read_scope, dimensions text[], compared observability_internal.compared_user[]
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_rows observability_internal.breakdown_row[];
begin
  if dimensions = '{}' then
    return '{}'::jsonb;
  end if;
  -- By tenant and by all tags together first: of these there are far fewer than users, and a text is taken out of few tags.
  with named as materialized (
    select
      case when n.is_tenant then a.tenant_id else '' end as tenant_id, case when not n.is_tenant then a.tags else '{}' end as tags,
      n.is_tenant, sum(c.requests::double precision)::bigint as requests, sum(c.errors::double precision)::bigint as errors,
      sum(c.prompt_tokens::double precision)::bigint as prompt_tokens,
      sum(c.completion_tokens::double precision)::bigint as completion_tokens,
      sum(c.cached_tokens::double precision)::bigint as cached_tokens,
      sum(c.unpriced_requests::double precision)::bigint as unpriced_requests, sum(c.cost) as cost,
      sum(c.previous_cost) as previous_cost, sum(c.previous_priced_requests::double precision)::bigint as previous_priced_requests
    from unnest(compared) as c
    inner join observability_internal.attributions as a using (attribution_id)
    cross join (values (true), (false)) as n (is_tenant)
    where not c.is_person and case when n.is_tenant then 'tenant_id' = any (dimensions) else dimensions <> '{tenant_id}' end
    group by 1, 2, 3
  )
  select array(
    select row(
      k.dimension, k.key, sum(k.requests), sum(k.prompt_tokens), sum(k.completion_tokens), sum(k.cached_tokens), sum(k.cost),
      sum(k.unpriced_requests), sum(k.previous_cost), sum(k.previous_priced_requests), sum(k.errors)
    )::observability_internal.breakdown_row
    from (
      select
        d.dimension, case when n.is_tenant then n.tenant_id else coalesce(n.tags ->> substr(d.dimension, 6), '') end as key, n.*
      from named as n
      inner join unnest(attributed_figures.dimensions) as d (dimension) on n.is_tenant = (d.dimension = 'tenant_id')
    ) as k
    group by k.dimension, k.key
    having sum(k.requests) > 0
  ) into v_rows;
  return observability_internal.rank_rows(v_rows, scope.row_limit, scope.by_tokens);
end;
$$;

comment on function observability_internal.attributed_figures is
'{tenant_id: [row], tags.<name>: [row]} of these dimensions: ranked as the scope says, and one row for the others; key empty: without.';
revoke execute on function observability_internal.attributed_figures from public;
grant execute on function observability_internal.attributed_figures to authenticated, service_role;

create function observability_internal.rows_by_tag(attributed jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_object_agg(substr(f.key, 6), f.value) filter (where f.key like 'tags.%'), '{}') from jsonb_each(attributed) as f;
$$;

comment on function observability_internal.rows_by_tag is 'The rows of attributed_figures that are by tag, as {name: [row]}.';
revoke execute on function observability_internal.rows_by_tag from public;
grant execute on function observability_internal.rows_by_tag to authenticated, service_role;

create function observability_internal.keys_of_rows(group_by text, entries jsonb) returns integer[]
language sql
stable
security invoker
set search_path = ''
as $$
  with top as (
    select e.value ->> 'key' as key
    from jsonb_array_elements(coalesce(entries, '[]')) with ordinality as e (value, place)
    where not (e.value -> 'is_other')::boolean and e.place <= 8
  )
  select array(
    select u.user_key
    from observability_internal.attributions as a
    inner join observability_internal.users as u using (attribution_id)
    where case
      when keys_of_rows.group_by = 'tenant_id' then a.tenant_id else coalesce(a.tags ->> substr(keys_of_rows.group_by, 6), '')
    end in (select t.key from top as t)
  );
$$;

comment on function observability_internal.keys_of_rows is 'The keys of the users that belong to the first eight rows of a breakdown by tenant or tag.';
revoke execute on function observability_internal.keys_of_rows from public;
grant execute on function observability_internal.keys_of_rows to authenticated, service_role;
