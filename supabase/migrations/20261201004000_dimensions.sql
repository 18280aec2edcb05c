-- Short keys for each combination of dimensions, each route and each user.
-- Locks: none; it only creates.

create table observability_internal.dimensions (
  dim_id integer generated always as identity,
  provider text not null,
  model text not null,
  feature text not null,
  environment text not null,
  operation text not null,
  status text not null,
  error_type text not null,
  constraint dimensions_pkey primary key (dim_id),
  constraint dimensions_key unique (provider, model, feature, environment, operation, status, error_type)
);

comment on table observability_internal.dimensions is 'Each combination of dimensions that occurred; an absent feature or error type is the empty text.';

alter table observability_internal.dimensions enable row level security;

grant select on table observability_internal.dimensions to authenticated;

grant select, insert, update, delete on table observability_internal.dimensions to service_role;

create table observability_internal.users (
  user_key integer generated always as identity,
  user_id text not null,
  dim_ids integer[] not null default '{}',
  constraint users_pkey primary key (user_key),
  constraint users_user_id_key unique (user_id)
);

comment on table observability_internal.users is
'A short key for each user id that occurred, and the dimensions of its calls: a member sees the names of these only.';

alter table observability_internal.users enable row level security;

grant select on table observability_internal.users to authenticated;

grant select, insert, update, delete on table observability_internal.users to service_role;

create policy "people see their own key, analysts all" on observability_internal.users
for select to authenticated
using (user_id = ((select auth.jwt()) ->> 'sub') or (select observability_internal.can_read_all()));

create table observability_internal.route_dimensions (
  route_id integer generated always as identity,
  environment text not null,
  method text not null,
  route text not null,
  status_code integer not null,
  error_type text not null,
  constraint route_dimensions_pkey primary key (route_id),
  constraint route_dimensions_key unique (environment, method, route, status_code, error_type)
);

comment on table observability_internal.route_dimensions is 'Each combination of route, method, status and error type that occurred.';

alter table observability_internal.route_dimensions enable row level security;

grant select on table observability_internal.route_dimensions to authenticated;

grant select, insert, update, delete on table observability_internal.route_dimensions to service_role;

create policy "analysts read the routes" on observability_internal.route_dimensions
for select to authenticated
using ((select observability_internal.can_read_all()));

-- Security definer: row level security on `users` itself would hide the key that the policies below compare with.
create function observability_internal.current_user_key() returns integer
language sql
stable
security definer
set search_path = ''
as $$
  select u.user_key from observability_internal.users as u where u.user_id = auth.jwt() ->> 'sub';
$$;

comment on function observability_internal.current_user_key is 'The key of the caller''s own user id, null where it has no calls.';
revoke execute on function observability_internal.current_user_key from public;
grant execute on function observability_internal.current_user_key to authenticated, service_role;

-- Security definer: row level security on `users` would have to look the key up first.
create function observability_internal.current_user_dims() returns integer[]
language sql
stable
security definer
set search_path = ''
as $$
  select u.dim_ids from observability_internal.users as u where u.user_id = auth.jwt() ->> 'sub';
$$;

comment on function observability_internal.current_user_dims is 'The dimensions of the caller''s own calls, null where it has no calls.';
revoke execute on function observability_internal.current_user_dims from public;
grant execute on function observability_internal.current_user_dims to authenticated, service_role;

create policy "people see the dimensions of their own calls, analysts all" on observability_internal.dimensions
for select to authenticated
using (
  (select observability_internal.can_read_all())
  or dim_id in (select unnest(observability_internal.current_user_dims()))
);
