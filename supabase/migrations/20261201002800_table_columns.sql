-- Tells what columns a table has, so that functions that store or copy whole rows need no list of them.
-- Locks: none; it only creates.

create function observability_internal.column_defaults(relation regclass) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_defaults jsonb;
begin
  execute (
    select format('select jsonb_build_object(%s)', string_agg(
      format('%L, %s', a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)), ', '
    ))
    from pg_catalog.pg_attribute as a
    inner join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
    where a.attrelid = column_defaults.relation
  ) into v_defaults;
  return v_defaults;
end;
$$;

comment on function observability_internal.column_defaults is 'What a table puts into the columns that a row leaves out: {column: value}.';
revoke execute on function observability_internal.column_defaults from public;
grant execute on function observability_internal.column_defaults to service_role;

create function observability_internal.columns_of_type(relation regclass, types regtype[]) returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
  from pg_catalog.pg_attribute as a
  where a.attrelid = columns_of_type.relation and a.attnum > 0 and not a.attisdropped and a.atttypid = any (types);
$$;

comment on function observability_internal.columns_of_type is 'The columns of a table that have one of these types, in its order.';
revoke execute on function observability_internal.columns_of_type from public;
grant execute on function observability_internal.columns_of_type to service_role;
