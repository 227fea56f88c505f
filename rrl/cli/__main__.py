from rrl.cli.main import main

main(prog_name="rrl")
