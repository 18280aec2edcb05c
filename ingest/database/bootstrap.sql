-- Gives a plain Postgres what Supabase already has and the migrations build upon: the API's roles, and the functions
-- that tell a policy who is calling. Whatever exists is left alone, so on Supabase itself nothing happens.
-- Locks: none on tables; role creation is serialized by the caller's advisory lock.

do $bootstrap$
begin
  if to_regrole('anon') is null then
    create role anon nologin noinherit;
  end if;
  if to_regrole('authenticated') is null then
    create role authenticated nologin noinherit;
  end if;
  if to_regrole('service_role') is null then
    create role service_role nologin noinherit bypassrls;
  end if;
  if to_regrole('authenticator') is null then
    -- Password logins are disabled until the operator sets a password.
    create role authenticator login noinherit;
  end if;
  if not pg_has_role('authenticator', 'anon', 'member')
    or not pg_has_role('authenticator', 'authenticated', 'member')
    or not pg_has_role('authenticator', 'service_role', 'member')
  then
    grant anon, authenticated, service_role to authenticator;
  end if;
  -- Whoever owns the database may act in these roles, as `postgres` may on Supabase.
  if not pg_has_role('service_role', 'member') then
    execute format('grant anon, authenticated, service_role to %I', current_user);
  end if;

  if to_regnamespace('auth') is null then
    create schema auth;
    grant usage on schema auth to anon, authenticated, service_role;
  end if;
  if to_regprocedure('auth.jwt()') is null then
    create function auth.jwt() returns jsonb language sql stable set search_path = '' as $function$
      select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
      )::jsonb
    $function$;
    comment on function auth.jwt() is 'The claims of the caller''s token; null outside a request.';
    grant execute on function auth.jwt() to anon, authenticated, service_role;
  end if;
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable set search_path = '' as $function$
      select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
      )::uuid
    $function$;
    comment on function auth.uid() is 'The caller''s user id where it is a UUID, as in Supabase Auth.';
    grant execute on function auth.uid() to anon, authenticated, service_role;
  end if;
  if to_regprocedure('auth.role()') is null then
    create function auth.role() returns text language sql stable set search_path = '' as $function$
      select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
      )
    $function$;
    comment on function auth.role() is 'The role in the caller''s token.';
    grant execute on function auth.role() to anon, authenticated, service_role;
  end if;
end
$bootstrap$
