-- Purpose: analysts and ops read the fetched catalogue, so that the app prices by the book that the worker prices by.
-- Locks: none on existing objects.

-- Security definer: analysts and ops have no rights on the table of catalogues.
create function observability_internal.stored_catalogue() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select to_jsonb(c)
  from observability_internal.price_catalogues as c
  where observability_internal.can_read_all()
  order by c.catalogue_id desc
  limit 1;
$$;

comment on function observability_internal.stored_catalogue() is 'The catalogue fetched last with its content; null for none and for members.';

create or replace function observability.get_price_catalogue() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return observability_internal.stored_catalogue();
end;
$$;

comment on function observability.get_price_catalogue() is 'The catalogue fetched last {catalogue_id, fetched_at, source_url, reader_version, sha256, content}; null for none. Analysts and ops.';

grant execute on function observability_internal.stored_catalogue() to authenticated, service_role;

grant execute on function observability.get_price_catalogue() to authenticated;
